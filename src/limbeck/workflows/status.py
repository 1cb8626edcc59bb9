"""How far a run is, from its folder alone: works while it runs, after a kill, and from another machine."""

import time
from pathlib import Path
from typing import Any

from limbeck.core.errors import ExecutionError, MissingFileError
from limbeck.core.progress import format_seconds, read_progress
from limbeck.core.record import locked
from limbeck.workflows.stages import LOCK, finish_time, listed_stages

STOPPED = "not finished, stopped; the same 'limbeck forge' goes on"
SILENT_S = 120.0
"""A task that has said nothing for so long belongs to an earlier start, or hangs."""


def status_of(run_folder: Path) -> dict[str, Any]:
    """Stages that the latest start of the run has come to, with their state and progress.

    Raises:
        MissingFileError: If the folder holds no run.
    """
    run_folder = Path(run_folder)
    if not (run_folder / "record.json").exists():
        raise MissingFileError(
            f"{run_folder}: no run here (no record.json). Give the folder of a run, such as runs/silicon."
        )
    stages = []
    for stage in listed_stages(run_folder):
        row: dict[str, Any] = {"stage": stage.name}
        if stage.done:
            row |= {"state": "done", "wall_s": stage.done["wall_s"], "cpu_s": stage.done["cpu_s"]}
        else:
            row |= {"state": "started", "tasks": _running(stage.folder)}
        stages.append(row)
    finished = finish_time(run_folder)
    return {
        "run_folder": str(run_folder),
        "finished": bool(finished),
        "running": _is_running(run_folder),
        "finished_at": finished,
        "report": str(run_folder / "report.html") if (run_folder / "report.html").exists() else None,
        "stages": stages,
    }


def _is_running(run_folder: Path) -> bool:
    """Whether a process works in the folder: it holds the lock, however it was started."""
    if not (run_folder / LOCK).exists():
        return False
    try:
        with locked(run_folder / LOCK, wait_s=0.0):
            return False
    except (ExecutionError, OSError):
        return True


def _running(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(folder.rglob("*.progress")):
        state = read_progress(path)
        if not state:
            continue
        done, total = float(state["done"]), float(state["total"])
        elapsed = float(state["now"]) - float(state["start"])
        rows.append(
            {
                "task": path.stem,
                "done": done,
                "total": total,
                "unit": state["unit"],
                "note": state["note"],
                "left_s": max(0.0, elapsed * (total - done) / done) if done else None,
                "silent_s": time.time() - float(state["now"]),
            }
        )
    return rows


def show_status(state: dict[str, Any]) -> str:
    """Status as text."""
    how = "finished" if state["finished"] else "not finished, running" if state["running"] else STOPPED
    lines = [f"{state['run_folder']}: {how}"]
    for stage in state["stages"]:
        if stage["state"] == "done":
            lines.append(f"  done     {stage['stage']:32} {format_seconds(stage['wall_s']):>12}")
            continue
        lines.append(f"  started  {stage['stage']}")
        for task in stage["tasks"]:
            left = f", about {format_seconds(task['left_s'])} left" if task["left_s"] and state["running"] else ""
            if state["running"] and task["silent_s"] > SILENT_S:
                left = f", no news for {format_seconds(task['silent_s'])}"
            lines.append(
                f"           {task['task']}: {task['done']:g} of {task['total']:g} {task['unit']}{left}  {task['note']}"
            )
    if state["report"]:
        lines.append(f"report: {state['report']}")
    return "\n".join(lines)
