"""Splits by trajectory: frames of one trajectory resemble each other, so they never stand on both sides."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.core.errors import TrainingError
from limbeck.core.rng import stream
from limbeck.labels.labelled import Labelled


@dataclass(frozen=True)
class Split:
    """Two sets of frames without a common trajectory; each keeps the order in which the frames were given.

    Attributes:
        train: What is fitted.
        validation: What decides when to stop.
    """

    train: tuple[Labelled, ...]
    validation: tuple[Labelled, ...]


def split_by_trajectory(frames: Sequence[Labelled], validation_fraction: float, seed: int) -> Split:
    """Put whole trajectories aside for validation.

    Trajectories are walked in a random order and taken for validation whenever that brings the number of validation
    frames closer to ``validation_fraction * len(frames)``; if none does, one of the smallest is taken. At least one
    trajectory stays for training.

    Args:
        frames: Frames with ``info["trajectory"]``; their order does not matter for who goes where.
        validation_fraction: Wanted part of the frames, in [0, 1); 0 gives an empty validation set.
        seed: Decides the order of trajectories.

    Returns:
        The split; every frame is in exactly one part.

    Raises:
        TrainingError: If all frames are of one trajectory, so that nothing can be put aside.
        ValueError: If the fraction is outside [0, 1).
    """
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"validation_fraction is {validation_fraction}, expected a number from 0 to below 1")
    if validation_fraction == 0:
        return Split(tuple(frames), ())
    sizes = Counter(frame.trajectory for frame in frames)
    if len(sizes) < 2:
        raise TrainingError(
            f"{len(frames)} frames of {len(sizes)} trajectory cannot be split by trajectory. Explore at least two "
            "trajectories, or set the validation fraction to 0."
        )
    names = sorted(sizes)
    shuffled = [names[i] for i in stream(seed, "split by trajectory").permutation(len(names))]
    target = validation_fraction * len(frames)
    chosen: set[str] = set()
    count = 0
    for name in shuffled:
        if len(chosen) < len(names) - 1 and abs(count + sizes[name] - target) < abs(count - target):
            chosen.add(name)
            count += sizes[name]
    if not chosen:
        chosen = {min(shuffled, key=lambda name: sizes[name])}
    return Split(
        train=tuple(frame for frame in frames if frame.trajectory not in chosen),
        validation=tuple(frame for frame in frames if frame.trajectory in chosen),
    )
