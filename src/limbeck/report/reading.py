"""Reads what a run left: ``results.json`` and the points of its evaluations, strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from limbeck.core.errors import MissingFileError, StoreError
from limbeck.core.record import canonical_json, write_json
from limbeck.report.schema import Evaluation, ForgeResults

RESULTS_FILE = "results.json"


def write_results(run_folder: Path, results: ForgeResults | Mapping[str, Any]) -> ForgeResults:
    """Check the records of a run and write them to its ``results.json``.

    Args:
        run_folder: Folder of the run.
        results: The records, or plain values of the same form (NumPy values, paths and NaN are taken).

    Returns:
        The records as they will be read.

    Raises:
        StoreError: If they do not fit; nothing is written then.
    """
    plain = results.model_dump(mode="json") if isinstance(results, ForgeResults) else results
    path = Path(run_folder) / RESULTS_FILE
    checked = _validate(canonical_json(plain), path)
    write_json(path, plain)
    return checked


def read_results(path: Path) -> ForgeResults:
    """Read and check ``results.json``.

    Args:
        path: The file.

    Returns:
        The validated records.

    Raises:
        MissingFileError: If there is no such file.
        StoreError: If it is not JSON or does not fit; the message lists every mistake with its place.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no results yet. A report needs the folder of a run that has been started; check the path."
        )
    return _validate(path.read_text(), path)


def _validate(text: str, path: Path) -> ForgeResults:
    try:
        return ForgeResults.model_validate_json(text)
    except ValidationError as error:
        mistakes = "\n".join(
            f"  {'.'.join(str(k) for k in e['loc']) or '(top)'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise StoreError(
            f"{path}: does not fit the records of a forge run (written by another version?):\n{mistakes}"
        ) from None


def read_points(run_folder: Path, evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Points of an evaluation as arrays, whether they stand in the record or in an ``.npz`` beside it.

    Args:
        run_folder: What a relative path starts from.
        evaluation: The record.

    Returns:
        Name -> array, pairs of equal size only; floats are flattened (NaN where ``null``), ``element`` is repeated to
        one symbol a force component. Empty where the record has no points.

    Raises:
        MissingFileError: If the file that the record names is not there.
        StoreError: If reference and prediction differ in size, or symbols do not fit the forces.
    """
    if evaluation.points is None:
        return {}
    if isinstance(evaluation.points, str):
        path = Path(run_folder) / evaluation.points
        if not path.is_file():
            raise MissingFileError(f"{path}: points of '{evaluation.potential}' are not there. Run the stage again.")
        with np.load(path, allow_pickle=False) as archive:
            raw = {name: np.asarray(archive[name]) for name in archive.files}
    else:
        try:
            raw = {n: np.array(v, dtype=str if n == "element" else float) for n, v in evaluation.points}
        except ValueError as error:
            raise StoreError(
                f"points of '{evaluation.potential}' on '{evaluation.set}': ragged rows ({error})"
            ) from None
    arrays: dict[str, np.ndarray] = {}
    for quantity in ("energy", "force", "stress"):
        reference = np.asarray(raw.get(f"{quantity}_reference", []), dtype=float)
        predicted = np.asarray(raw.get(f"{quantity}_predicted", []), dtype=float)
        if reference.size != predicted.size:
            raise StoreError(
                f"points of '{evaluation.potential}' on '{evaluation.set}': {reference.size} reference but "
                f"{predicted.size} predicted values of the {quantity}; expected equal numbers"
            )
        if reference.size:
            arrays[f"{quantity}_reference"], arrays[f"{quantity}_predicted"] = reference.ravel(), predicted.ravel()
    element, forces = raw.get("element", np.array([])), arrays.get("force_reference", np.array([]))
    if element.size and forces.size:
        if forces.size % element.size:
            raise StoreError(
                f"points of '{evaluation.potential}': {element.size} symbols do not fit {forces.size} components"
            )
        arrays["element"] = np.repeat(element.astype(str), forces.size // element.size)
    return arrays
