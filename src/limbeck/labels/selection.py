"""Which frames to label: those whose atomic environments the reference does not hold yet.

For an environment *Y* and a reference set {X}, with a Gaussian kernel of bandwidth *h*,

    dH(Y | {X}) = -log sum_i exp(-|Y - X_i|^2 / (2 h^2)),

the information that *Y* adds, in nats: 0 when the reference holds it once, negative when it holds it more often, large
when it is new. What differs from the source (Schwalbe-Koda et al., arXiv 2404.12367), and why:

- Elements count: environments with different central elements are never compared, neighbors are told apart by element
  (:mod:`limbeck.labels.environments`).
- A frame's gain is the mean of ``max(dH, 0)`` over its most novel quarter of atoms. A sum over atoms lets the largest
  cell win whatever it holds; a mean over all atoms hides one new defect in a large cell; the mean over the top
  fraction is intensive and sees it. Negative values are cut: being well known in one place must not pay for novelty
  elsewhere.
- The bandwidth comes from the data: for each central element, the one at which candidates and reference together just
  know themselves, that is, at which the median environment has dH = 0 against all other frames. It follows density,
  temperature, descriptor and pool size without a number to choose; anything narrower calls every environment new,
  anything wider calls all of them known after a few picks.
- The reference is updated after every pick, so an exact duplicate gains zero and never enters. Selection ends early
  once the best gain falls under ``minimum_gain``, and says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from jaxtyping import Float
from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import StructureError
from limbeck.labels.environments import Environments, EnvironmentSettings, environments

_BANDWIDTH_SAMPLE = 128
_SAME_A = 1e-6
_NOTHING = 1e-6
_CHUNK = 4096
_JUDGES = 4096
"""Environments of the pool by which coverage is judged, evenly taken."""


class RandomSelection(Settings):
    """Frames drawn at random without replacement: the baseline that any selection must beat."""

    kind: Literal["random"] = "random"


class EntropySelection(Settings):
    """Frames with the largest information entropy of their environments against the reference."""

    kind: Literal["entropy"] = "entropy"
    environment: EnvironmentSettings = EnvironmentSettings()
    """What of an atom's surroundings is compared."""
    top_fraction: float = Field(default=0.25, gt=0, le=1)
    """Part of a frame's atoms, the most novel ones, whose mean is the frame's gain; at least one atom."""
    bandwidth_scale: float = Field(default=1.0, gt=0, le=100)
    """Factor on the bandwidth found from the data."""
    minimum_gain: float = Field(default=0.01, ge=0)
    """Gain in nats per atom under which a frame is no news, and selection ends."""


class CoverageSelection(Settings):
    """Frames that stand for as much of the pool as possible: common environments first, rare ones later."""

    kind: Literal["coverage"] = "coverage"
    environment: EnvironmentSettings = EnvironmentSettings()
    """What of an atom's surroundings is compared."""
    bandwidth_scale: float = Field(default=1.0, gt=0, le=100)
    """Factor on the bandwidth found from the data."""
    minimum_gain: float = Field(default=1e-3, ge=0)
    """Environments of the pool newly covered by each labelled atom under which a frame is no news; selection ends."""


class FarthestPoint(Settings):
    """Frames whose environments lie farthest from any environment chosen before."""

    kind: Literal["farthest_point"] = "farthest_point"
    environment: EnvironmentSettings = EnvironmentSettings()
    """What of an atom's surroundings is compared."""
    top_fraction: float = Field(default=0.25, gt=0, le=1)
    """Part of a frame's atoms, the farthest ones, whose mean distance counts; at least one atom."""
    minimum_gain: float = Field(default=1e-3, ge=0)
    """Distance in 1/Å under which a frame is no news, and selection ends."""


SelectionSettings = Annotated[
    EntropySelection | CoverageSelection | FarthestPoint | RandomSelection, Field(discriminator="kind")
]
"""Settings of any selection, told apart by ``kind``."""


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes:
        indices: Chosen candidates, in the order in which they were chosen.
        gains: Gain of each when it was chosen (nats per atom, or 1/Å for farthest points; infinite for the first one
            without a reference); empty for random selection.
        stopped_because: Why the selection ended where it did.
    """

    indices: tuple[int, ...]
    gains: tuple[float, ...]
    stopped_because: str


def select(
    candidates: Sequence[Atoms],
    reference: Sequence[Atoms],
    count: int,
    settings: EntropySelection | CoverageSelection | FarthestPoint | RandomSelection,
    rng: np.random.Generator,
) -> Selection:
    """Choose up to ``count`` candidates, one at a time.

    Args:
        candidates: Frames to choose from; not changed.
        reference: Frames that are labelled already.
        count: How many are wanted: never more come back, and fewer only for a reason that is given.
        settings: How to choose.
        rng: Breaks ties (and makes the first choice where there is no reference).

    Returns:
        Indices into ``candidates``.

    Raises:
        StructureError: If a frame holds NaN or has no atoms; filter the frames first.
    """
    for name, frames in (("candidate", candidates), ("reference frame", reference)):
        for number, atoms in enumerate(frames):
            if len(atoms) == 0 or not np.all(np.isfinite(atoms.positions)):
                raise StructureError(f"{name} {number} has no atoms or holds NaN. Filter the frames before selecting.")
    if isinstance(settings, RandomSelection):
        chosen = rng.permutation(len(candidates))[: max(count, 0)]
        return Selection(tuple(int(i) for i in chosen), (), _enough(len(chosen), count))
    if not candidates or count < 1:
        return Selection((), (), _enough(0, count))
    pool, known = _describe(candidates, reference, settings.environment)
    if isinstance(settings, CoverageSelection):
        return _cover(pool, known, [len(atoms) for atoms in candidates], count, settings, rng)
    if isinstance(settings, EntropySelection):
        kernel: _Novelty = _EntropyNovelty(pool, known, settings.bandwidth_scale)
    else:
        kernel = _DistanceNovelty(pool)
    for number in range(len(reference)):
        kernel.add(known.values[known.frame_index == number], known.numbers[known.frame_index == number])
    return _greedy(kernel, pool, len(candidates), count, settings, rng)


def novelty(
    frames: Sequence[Atoms], reference: Sequence[Atoms], settings: EntropySelection
) -> tuple[Float[np.ndarray, " n_atoms"], ...]:
    """Information dH in nats that every atom's environment adds to a reference; infinite where it holds none alike.

    Args:
        frames: Frames to look at.
        reference: Frames that are known.
        settings: Environment and bandwidth scale.

    Returns:
        One array a frame, in the order of its atoms. At most 0 means: known. The part of atoms at most 0 is the
        coverage of the frames by the reference.
    """
    pool, known = _describe(frames, reference, settings.environment)
    kernel = _EntropyNovelty(pool, known, settings.bandwidth_scale)
    kernel.add(known.values, known.numbers)
    return tuple(kernel.values[pool.frame_index == number] for number in range(len(frames)))


def _describe(
    candidates: Sequence[Atoms], reference: Sequence[Atoms], settings: EnvironmentSettings
) -> tuple[Environments, Environments]:
    elements = sorted({int(number) for atoms in (*candidates, *reference) for number in atoms.numbers})
    return environments(candidates, elements, settings), environments(reference, elements, settings)


class _Novelty:
    """Novelty of every environment of the pool, kept up to date while the reference grows."""

    def __init__(self, pool: Environments) -> None:
        self._pool = pool
        self._rows = {int(number): np.flatnonzero(pool.numbers == number) for number in np.unique(pool.numbers)}
        self.values = np.full(len(pool.numbers), np.inf)

    def add(self, values: np.ndarray, numbers: np.ndarray) -> None:
        """Take environments into the reference."""
        for number, rows in self._rows.items():
            new = values[numbers == number]
            for start in range(0, len(rows) if len(new) else 0, _CHUNK):
                part = rows[start : start + _CHUNK]
                squares = _squared_distances(self._pool.values[part], new)
                self.values[part] = self._update(self.values[part], squares, number)

    def _update(self, old: np.ndarray, squares: np.ndarray, number: int) -> np.ndarray:
        raise NotImplementedError


class _EntropyNovelty(_Novelty):
    def __init__(self, pool: Environments, known: Environments, scale: float) -> None:
        super().__init__(pool)
        self._inverse = {n: 1 / (2 * (scale * h) ** 2) for n, h in bandwidths(pool, known).items()}

    def _update(self, old: np.ndarray, squares: np.ndarray, number: int) -> np.ndarray:
        exponents = squares * -self._inverse[number]
        largest = exponents.max(axis=1)
        sums = np.log(np.exp(exponents - largest[:, None]).sum(axis=1)) + largest
        return np.asarray(-np.logaddexp(-old, sums))


class _DistanceNovelty(_Novelty):
    def _update(self, old: np.ndarray, squares: np.ndarray, number: int) -> np.ndarray:
        return np.minimum(old, np.sqrt(squares.min(axis=1)))


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n_first, n_second); what rounding leaves of equal rows is set to zero."""
    a, b = (first**2).sum(axis=1), (second**2).sum(axis=1)
    squares = a[:, None] + b[None, :] - 2 * first @ second.T
    squares[squares < 1e-12 * (a[:, None] + b[None, :])] = 0.0
    return np.asarray(squares)


def bandwidths(pool: Environments, known: Environments) -> dict[int, float]:
    """Kernel bandwidth in 1/Å for every central element of the pool.

    At it the median environment (of a regular sample of 128) has dH = 0 against the environments of all other frames
    of pool and reference. Copies (closer than 1e-6 1/Å) do not count. Where there is no other frame, the environments
    of one frame are compared; where all are copies, the bandwidth is 1e-6 1/Å.
    """
    found = {}
    for number in np.unique(pool.numbers):
        mine, theirs = pool.numbers == number, known.numbers == number
        values = np.vstack([pool.values[mine], known.values[theirs]])
        frame = np.concatenate([pool.frame_index[mine], known.frame_index[theirs] + 1 + pool.frame_index.max()])
        sample = np.arange(0, len(values), max(1, -(-len(values) // _BANDWIDTH_SAMPLE)))
        squares = _squared_distances(values[sample], values)
        squares[squares < _SAME_A**2] = np.inf
        apart = np.where(frame[sample][:, None] == frame[None, :], np.inf, squares)
        if not np.any(np.isfinite(apart)):
            apart = squares
        found[int(number)] = _self_covering_bandwidth(apart[np.any(np.isfinite(apart), axis=1)])
    return found


def _self_covering_bandwidth(squares: np.ndarray) -> float:
    """Bandwidth at which the median row of squared distances has dH = 0, by bisection to 1 %."""
    if len(squares) == 0:
        return _SAME_A
    nearest = squares.min(axis=1, keepdims=True)
    differences = squares - nearest

    def median_information(h: float) -> float:
        sums = np.log(np.exp(differences * (-0.5 / h**2)).sum(axis=1))
        return float(np.median(nearest[:, 0] / (2 * h**2) - sums))

    low, high = float(np.sqrt(nearest.min())) / 100, float(np.sqrt(nearest.max())) * 100
    if median_information(high) > 0:  # one row against one: dH only tends to zero
        return float(np.sqrt(np.median(nearest)))
    while high / low > 1.01:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if median_information(middle) > 0 else (low, middle)
    return float(np.sqrt(low * high))


def _cover(
    pool: Environments,
    known: Environments,
    sizes: Sequence[int],
    count: int,
    settings: CoverageSelection,
    rng: np.random.Generator,
) -> Selection:
    """Greedy maximum of the mean over the pool's environments x of ``max_y K(x, y)``, y in reference and chosen frames.

    The function is submodular, so the greedy choice is within 1 - 1/e of the best one. Gains are per labelled atom.
    """
    judges = np.flatnonzero(np.arange(len(pool.numbers)) % max(1, -(-len(pool.numbers) // _JUDGES)) == 0)
    inverse = {n: 1 / (2 * (settings.bandwidth_scale * h) ** 2) for n, h in bandwidths(pool, known).items()}

    def likeness(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Of every judge to the most alike of some environments of its own element."""
        found = np.zeros(len(judges))
        for number in np.unique(numbers):
            mine = pool.numbers[judges] == number
            if mine.any():
                squares = _squared_distances(pool.values[judges[mine]], values[numbers == number])
                found[mine] = np.exp(-inverse[int(number)] * squares.min(axis=1))
        return found

    bounds = np.searchsorted(pool.frame_index, np.arange(len(sizes) + 1))
    alike = np.array([likeness(pool.values[a:b], pool.numbers[a:b]) for a, b in pairwise(bounds)])
    covered = likeness(known.values, known.numbers) if len(known.numbers) else np.zeros(len(judges))
    per_atom = len(pool.numbers) / len(judges) / np.asarray(sizes, dtype=float)
    left = np.ones(len(sizes), dtype=bool)
    indices: list[int] = []
    gains: list[float] = []
    while len(indices) < min(count, len(sizes)):
        scores = np.where(left, np.maximum(alike - covered, 0.0).sum(axis=1) * per_atom, -np.inf)
        best = float(scores.max())
        if best < max(settings.minimum_gain, _NOTHING):
            limit = f"less than minimum_gain = {settings.minimum_gain:g}"
            text = f"the best of {left.sum()} frames left adds {best:.2g}, {limit}"
            return Selection(tuple(indices), tuple(gains), text)
        tied = np.flatnonzero(scores >= best - 1e-9 * best)
        pick = int(tied[rng.integers(len(tied))])
        indices.append(pick)
        gains.append(best)
        left[pick] = False
        covered = np.maximum(covered, alike[pick])
    return Selection(tuple(indices), tuple(gains), _enough(len(indices), count))


def _greedy(
    kernel: _Novelty,
    pool: Environments,
    n_frames: int,
    count: int,
    settings: EntropySelection | FarthestPoint,
    rng: np.random.Generator,
) -> Selection:
    bounds = np.searchsorted(pool.frame_index, np.arange(n_frames + 1))
    gain_of: Callable[[np.ndarray], float] = _top_mean(settings.top_fraction)
    left = np.ones(n_frames, dtype=bool)
    indices: list[int] = []
    gains: list[float] = []
    while len(indices) < min(count, n_frames):
        scores = np.array(
            [gain_of(kernel.values[bounds[i] : bounds[i + 1]]) if left[i] else -np.inf for i in range(n_frames)]
        )
        best = float(scores.max())
        if best < max(settings.minimum_gain, _NOTHING):
            limit = f"less than minimum_gain = {settings.minimum_gain:g}"
            return Selection(
                tuple(indices), tuple(gains), f"the best of {left.sum()} frames left adds {best:.2g}, {limit}"
            )
        tied = (
            np.flatnonzero(scores >= best - 1e-9 * abs(best)) if np.isfinite(best) else np.flatnonzero(scores == best)
        )
        pick = int(tied[rng.integers(len(tied))])
        indices.append(pick)
        gains.append(best)
        left[pick] = False
        rows = slice(bounds[pick], bounds[pick + 1])
        kernel.add(pool.values[rows], pool.numbers[rows])
    return Selection(tuple(indices), tuple(gains), _enough(len(indices), count))


def _top_mean(fraction: float) -> Callable[[np.ndarray], float]:
    """Mean over the largest part of an array's values, those below zero counted as zero."""

    def mean(values: np.ndarray) -> float:
        top = max(1, int(np.ceil(fraction * len(values) - 1e-9)))
        return float(np.partition(np.maximum(values, 0.0), len(values) - top)[-top:].mean())

    return mean


def _enough(chosen: int, count: int) -> str:
    if chosen >= count:
        return f"the {count} frames asked for were chosen"
    return f"all {chosen} candidates were chosen, {count} were asked for"
