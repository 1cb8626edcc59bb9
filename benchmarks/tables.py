"""Tables of rows that a benchmark writes: a run of some cases leaves those of the others as they are."""

from pathlib import Path

from limbeck.core.record import read_json, write_json


def put_rows(path: Path, rows: list[dict]) -> None:
    """Write rows, in place of those of the same id; others stay."""
    ids = {row["id"] for row in rows}
    kept = [row for row in (read_json(path) if path.exists() else []) if row["id"] not in ids]
    write_json(path, [*kept, *rows])
