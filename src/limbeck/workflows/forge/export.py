"""All first-principles labels of a run as one compressed set with its card."""

import time
from pathlib import Path

from limbeck.core.errors import MissingFileError
from limbeck.core.record import read_json
from limbeck.labels.dataset import Description, save_set
from limbeck.labels.labelled import Labelled
from limbeck.workflows.forge.frames import read_labelled


def labels_of(run_folder: Path) -> list[Labelled]:
    """Every label that a run used, test set first, each with its ``role`` and ``trajectory``.

    Raises:
        MissingFileError: If the folder holds no run, or one without labels yet.
    """
    run_folder = Path(run_folder)
    stages = sorted((run_folder / "stages").glob("40-iteration-*-c-test/labelled.json"))
    stages = stages or sorted((run_folder / "stages").glob("40-iteration-*-a-labels/labelled.json"))
    test = run_folder / "stages" / "20-test-set" / "labelled.json"
    paths = [test, *stages[-1:]] if test.exists() else stages[-1:]
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
