"""Tables of the report: every number with its error bar where the record has one."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from limbeck.core.progress import format_seconds
from limbeck.report.blocks import Cell, Table, count_cell, format_number, format_unit, number_cell, quantity_cell
from limbeck.report.figures import Tested
from limbeck.report.schema import Evaluation, ForgeResults, Iteration, Quantity, StudentResult
from limbeck.report.style import ROLE_WORDS

ERROR_NAMES = {
    "energy_rmse": "Energy, RMSE",
    "energy_rmse_without_offset": "Energy, RMSE, mean deviation removed",
    "energy_mae": "Energy, MAE",
    "force_rmse": "Force components, RMSE",
    "force_mae": "Force components, MAE",
    "stress_rmse": "Stress components, RMSE",
    "stress_mae": "Stress components, MAE",
    "force_worst_1_percent": "Force, worst 1 % of atoms",
    "force_max": "Force, largest error",
    "force_cosine": "Force, cosine to reference",
}


_BY_ELEMENT = re.compile(r"force_RMSE_([A-Z][a-z]?)_eV_per_A")
_UNIT_ENDING = re.compile(r"_(K|GPa|(eV|meV|A3)_per_atom|eV_per_A|A3?|ps|fs)$")


def words(name: str) -> str:
    """Name of an error, a check or an average for reading: units (which have a column) and underscores go."""
    if element := _BY_ELEMENT.fullmatch(name):
        return f"Force components, RMSE, {element[1]}"
    return ERROR_NAMES.get(name, _UNIT_ENDING.sub("", name).replace("_", " "))


def errors_shown(names: Iterable[str]) -> list[str]:
    """Errors worth a row, known ones first in a fixed order; those of single elements only where there are several."""
    known = list(ERROR_NAMES)
    every = sorted(names, key=lambda n: known.index(n) if n in known else len(known))
    by_element = [n for n in every if _BY_ELEMENT.fullmatch(n)]
    return [n for n in every if len(by_element) > 1 or n not in by_element]


def metric_name(name: str) -> str:
    """Name of an error as part of a metric's id: ``force-rmse``, ``force-rmse-Si``."""
    element = _BY_ELEMENT.fullmatch(name)
    return f"force-rmse-{element[1]}" if element else name.replace("_", "-").lower()


def unit_cell(unit: str) -> Cell:
    """Quiet cell with a unit."""
    return Cell(format_unit(unit), tone="quiet")


def potential_name(evaluation: Evaluation) -> str:
    """``7net-0 (zero-shot)``: the potential with its role, where the name does not say it."""
    role = ROLE_WORDS[evaluation.role]
    plain = evaluation.potential.replace("_", "-")
    return plain if plain.startswith(role) else f"{evaluation.potential} ({role})"


def errors(evaluations: Sequence[Evaluation]) -> Table | None:
    """Errors by set and quantity (rows) and by potential (columns)."""
    potentials = list(dict.fromkeys(potential_name(e) for e in evaluations))
    sets = list(dict.fromkeys(e.set for e in evaluations))
    rows = []
    for name in sets:
        inside = {potential_name(e): e for e in evaluations if e.set == name}
        names = dict.fromkeys(k for e in inside.values() for k in e.errors)
        for number, error in enumerate(errors_shown(names)):
            found = [inside[p].errors.get(error) if p in inside else None for p in potentials]
            unit = next((q.unit for q in found if q is not None and q.unit not in ("", "1")), "")
            set_cell = Cell("" if number else name, tone="strong")
            what = f"{words(error)} ({format_unit(unit)})" if unit else words(error)
            rows.append((set_cell, Cell(what), *(quantity_cell(q) for q in found)))
    if not rows:
        return None
    return Table("Errors against the labels, by set and quantity", ("Set", "Error", *potentials), tuple(rows))


def errors_by_trajectory(evaluations: Sequence[Evaluation]) -> Table | None:
    """Energy and force RMSE of every trajectory, by potential."""
    rows = [
        (
            Cell(t.trajectory),
            number_cell(t.temperature_K),
            number_cell(t.pressure_GPa),
            Cell(potential_name(e)),
            Cell(e.set),
            number_cell(t.energy_rmse, 3),
            number_cell(t.force_rmse, 3),
        )
        for e in evaluations
        for t in e.by_trajectory
    ]
    if not rows:
        return None
    columns = ("Trajectory", "T (K)", "p (GPa)", "Potential", "Set", "Energy RMSE (meV/atom)", "Force RMSE (eV/Å)")
    return Table("Errors by trajectory", columns, tuple(rows), folded=True)


def errors_by_element(tested: Sequence[Tested]) -> Table | None:
    """Force RMSE of each chemical element from the points, where there is more than one and no record gives it."""
    if any(_BY_ELEMENT.fullmatch(name) for e, _ in tested for name in e.errors):
        return None
    symbols = sorted({str(s) for _, p in tested for s in p.get("element", ())})
    if len(symbols) < 2:
        return None
    rows = []
    for evaluation, points in tested:
        if "element" not in points:
            continue
        squared = (points["force_predicted"] - points["force_reference"]) ** 2
        cells = []
        for symbol in symbols:
            mine = points["element"] == symbol
            cells.append(number_cell(float(np.sqrt(np.nanmean(squared[mine]))) if mine.any() else None, 3))
        rows.append((Cell(potential_name(evaluation)), Cell(evaluation.set), *cells))
    columns = ("Potential", "Set", *(f"{s} (eV/Å)" for s in symbols))
    return Table("Force RMSE by element", columns, tuple(rows))


def gate(iterations: Sequence[Iteration]) -> Table | None:
    """Every check of the gate in every iteration."""
    rows = []
    for iteration in iterations:
        for check in iteration.gate.checks if iteration.gate else ():
            verdict = Cell("passed", tone="good") if check.passed else Cell("failed", tone="bad")
            value = Quantity(value=check.value, standard_error=check.standard_error)
            rows.append(
                (
                    Cell(str(iteration.index), numeric=True),
                    Cell(words(check.name)),
                    quantity_cell(value),
                    number_cell(check.limit),
                    unit_cell(check.unit),
                    verdict,
                )
            )
    if not rows:
        return None
    return Table("The gate, by iteration", ("Iteration", "Check", "Value", "Limit", "Unit", "Verdict"), tuple(rows))


def loop(iterations: Sequence[Iteration]) -> Table | None:
    """What every iteration explored, dropped, labelled and trained on."""
    if not iterations:
        return None
    rows = [
        (
            Cell(str(i.index), numeric=True),
            count_cell(i.n_candidates),
            count_cell(i.n_filtered_out),
            count_cell(len(i.selection_gains)),
            count_cell(i.n_train),
            count_cell(i.n_validation),
            count_cell(i.labels_total),
            Cell(i.selected_stopped_because, tone="quiet"),
        )
        for i in iterations
    ]
    columns = (
        "Iteration",
        "Candidates",
        "Dropped",
        "Selected",
        "Train",
        "Validation",
        "Labels so far",
        "Selection ended",
    )
    return Table("The loop, by iteration", columns, tuple(rows))


def students(results: Sequence[StudentResult]) -> Table | None:
    """Accuracy, speed and verdict of every student."""
    if not results:
        return None
    rows = []
    for s in results:
        force, energy = s.errors_vs_labels.get("force_rmse"), s.errors_vs_labels.get("energy_rmse")
        target = {
            True: Cell("met", tone="good"),
            False: Cell("not met", tone="bad"),
            None: Cell("no target", tone="quiet"),
        }
        rows.append(
            (
                Cell(f"{s.name} (chosen)" if s.chosen else s.name, tone="strong" if s.chosen else ""),
                quantity_cell(force),
                quantity_cell(energy),
                quantity_cell(s.error_ratio),
                quantity_cell(s.errors_vs_teacher.get("force_rmse")),
                quantity_cell(s.microseconds_per_atom_step),
                quantity_cell(s.speedup_over_teacher),
                target[s.meets_target],
            )
        )
    columns = (
        "Student", "Force RMSE (eV/Å)", "Energy RMSE (meV/atom)", "Force RMSE over teacher's",
        "Force RMSE to teacher (eV/Å)", "µs per atom and step", "Times teacher's speed", "Target",
    )  # fmt: skip
    return Table("Students, errors against the labels", columns, tuple(rows))


def student_reasons(results: Sequence[StudentResult]) -> Table | None:
    """What every student is, and why it meets its target or does not."""
    rows = tuple(
        (Cell(s.name), Cell(s.kind), count_cell(s.coefficients), number_cell(s.fit_cpu_s, 3), Cell(s.why or "–"))
        for s in results
    )
    return (
        Table("Fits, and why", ("Student", "Family", "Coefficients", "Fit (CPU s)", "Reason"), rows) if rows else None
    )


def properties(results: ForgeResults) -> Table | None:
    """Every property by zero-shot and fine-tuned teacher and student, by reference where any is known, and how."""
    if not results.properties:
        return None
    known = any(p.labels_reference is not None for p in results.properties)
    methods = [
        next((q.method for q in (p.student, p.fine_tuned, p.zero_shot) if q is not None and q.method), "")
        for p in results.properties
    ]
    columns: list[str] = ["Property", *(["Reference"] if known else []), "Zero-shot", "Fine-tuned", "Student", "Unit"]
    columns += (["Reference from"] if known else []) + (["How"] if any(methods) else [])
    rows = []
    for p, method in zip(results.properties, methods, strict=True):
        row = [Cell(re.sub(r"\bat G\b", "at Γ", p.name)), *([quantity_cell(p.labels_reference)] if known else [])]
        row += [*(quantity_cell(q) for q in (p.zero_shot, p.fine_tuned, p.student)), unit_cell(p.unit)]
        row += [Cell(p.reference_note, tone="quiet")] if known else []
        row += [Cell(method, tone="quiet")] if any(methods) else []
        rows.append(tuple(row))
    return Table("Properties by potential", tuple(columns), tuple(rows))


def cost(results: ForgeResults) -> Table | None:
    """Wall and CPU time by stage, with the sum."""
    if not results.cost:
        return None
    rows: list[tuple[Cell, ...]] = [(Cell(c.stage), _seconds(c.wall_s), _seconds(c.cpu_s)) for c in results.cost]
    wall = [c.wall_s for c in results.cost if c.wall_s is not None]
    cpu = [c.cpu_s for c in results.cost if c.cpu_s is not None]
    rows.append(
        (Cell("all stages", tone="strong"), _seconds(sum(wall) if wall else None), _seconds(sum(cpu) if cpu else None))
    )
    return Table("Time by stage", ("Stage", "Wall clock", "CPU"), tuple(rows))


def _seconds(value: float | None) -> Cell:
    return number_cell(None) if value is None else Cell(format_seconds(value), numeric=True)


def averages(results: ForgeResults) -> Table | None:
    """Time averages of the production run."""
    if results.run is None or not results.run.averages:
        return None
    rows = [
        (Cell(words(name)), quantity_cell(q), unit_cell(q.unit), _samples(q))
        for name, q in results.run.averages.items()
    ]
    return Table("Averages over the run", ("Quantity", "Average", "Unit", "Independent samples"), tuple(rows))


def _samples(quantity: Quantity) -> Cell:
    n = quantity.n_effective
    return number_cell(None) if n is None else Cell(format_number(n, 3), numeric=True)


def quarantined(results: ForgeResults) -> Table | None:
    """Frames that were set aside, with the reason."""
    if results.labels is None or not results.labels.quarantined:
        return None
    rows = tuple((Cell(q.frame), Cell(q.reason)) for q in results.labels.quarantined)
    return Table("Frames in quarantine", ("Frame", "Reason"), rows)


def lineage(results: ForgeResults) -> Table | None:
    """Every product with what it was made from."""
    if not results.lineage:
        return None
    rows = tuple((Cell(s.product), Cell(", ".join(s.made_from) or "–"), Cell(s.by_stage)) for s in results.lineage)
    return Table("Lineage", ("Product", "Made from", "By stage"), rows)


def versions(results: ForgeResults) -> Table | None:
    """Versions of every package that can change a number."""
    if not results.versions:
        return None
    rows = tuple((Cell(name), Cell(version)) for name, version in results.versions.items())
    return Table("Versions", ("Package", "Version"), rows, folded=True)
