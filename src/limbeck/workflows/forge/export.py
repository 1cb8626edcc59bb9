"""All first-principles labels of a run as one compressed set with its card."""

import time
from pathlib import Path

from limbeck.core.errors import MissingFileError
from limbeck.core.record import read_json
from limbeck.labels.dataset import Description, save_set
from limbeck.labels.labelled import Labelled
from limbeck.workflows.forge.frames import read_labelled
from limbeck.workflows.stages import listed_stages


def labels_of(run_folder: Path) -> list[Labelled]:
    """Every label that a run used, test set first, each with its ``role`` and ``trajectory``.

    Raises:
        MissingFileError: If the folder holds no run, or one without labels yet.
    """
    done = [stage for stage in listed_stages(run_folder) if stage.done]
    test = [stage for stage in done if stage.name == "20-test-set"]
    others = [stage for stage in done if stage.name.endswith(("-a-labels", "-c-test"))]
    paths = [stage.folder / "labelled.json" for stage in [*test, *others[-1:]]]
    if not paths:
        raise MissingFileError(
            f"{run_folder}: no labels here. Give the folder of a forge run that has labelled frames."
        )
    return [frame for path in paths for frame in read_labelled(path)]


def export_labels(run_folder: Path, output: Path, *, title: str = "") -> int:
    """Write the labels of a run; the set can then stand in a configuration as ``labels: {kind: stored, path: ...}``.

    Returns:
        Number of labels.
    """
    frames = labels_of(run_folder)
    record = read_json(Path(run_folder) / "record.json")
    description = Description(
        title=title or f"{record['config'].get('title') or record['config']['name']}: labels of a forge run",
        what=(
            "Frames that a forge run chose and labelled. info['role'] is 'test' (fixed external test set), 'pool' "
            "(selected for training) or 'fresh' (trajectories of the fine-tuned teacher); info['trajectory'] is the "
            "unit of every split."
        ),
        command=record["command"] or "limbeck forge",
        date=time.strftime("%Y-%m-%d"),
    )
    save_set(output, frames, description)
    return len(frames)
