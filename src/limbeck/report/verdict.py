"""What the run comes to: the one-sentence verdict, the key numbers, and the rows of ``metrics.json``."""

from typing import Any

from limbeck.core.progress import format_seconds
from limbeck.report.blocks import Card, Tone, format_estimate, format_number, in_words
from limbeck.report.schema import EnergyConservation, Evaluation, ForgeResults, Gate, Quantity, Role, StudentResult
from limbeck.report.style import names_of
from limbeck.report.tables import errors_shown, metric_name, words


def evaluation_of(results: ForgeResults, role: Role, set_name: str = "test") -> Evaluation | None:
    """Last evaluation of a role on a set; of the student, that of the chosen one where several are there."""
    found = [e for e in results.evaluations if e.role == role and e.set == set_name]
    if role == "student" and len(found) > 1:
        student = chosen_student(results)
        found = [e for e in found if student and e.potential in names_of(student)] or found
    return found[-1] if found else None


def error_of(results: ForgeResults, role: Role, error: str, set_name: str = "test") -> Quantity | None:
    """One error of a role on a set, or ``None`` where it is not known yet."""
    evaluation = evaluation_of(results, role, set_name)
    quantity = evaluation.errors.get(error) if evaluation else None
    return quantity if quantity is not None and quantity.value is not None else None


def chosen_student(results: ForgeResults) -> StudentResult | None:
    """The chosen student, if there is one yet."""
    return next((s for s in results.students if s.chosen), None)


def chosen_on(results: ForgeResults, set_name: str = "test") -> str:
    """What must stand beside the student's error on a set: that it was chosen by just that error; else empty."""
    target = results.front_target
    if target is None or target.judged_on != set_name or len(results.students) < 2 or chosen_student(results) is None:
        return ""
    return f"chosen among {len(results.students)} students on these same {set_name} labels"


def error_ratio(results: ForgeResults) -> Quantity | None:
    """Force RMSE of the chosen student over its teacher's on the test labels, paired where the record says so."""
    student = chosen_student(results)
    if student is not None and student.error_ratio is not None and student.error_ratio.value is not None:
        paired = student.error_ratio
        return paired if paired.method else paired.model_copy(update={"method": "paired jackknife over trajectories"})
    mine, teacher = error_of(results, "student", "force_rmse"), error_of(results, "fine_tuned", "force_rmse")
    if not (mine and teacher and mine.value and teacher.value):
        return None
    return Quantity(value=mine.value / teacher.value, method="no error bar: both errors are on the same atoms")


def last_gate(results: ForgeResults) -> Gate | None:
    """Gate of the last iteration that has one."""
    gates = [i.gate for i in results.iterations if i.gate is not None]
    return gates[-1] if gates else None


def student_drift(results: ForgeResults) -> EnergyConservation | None:
    """Constant-energy run of the student (the last one recorded)."""
    chosen = chosen_student(results)
    names = {"student"} | (
        names_of(chosen) if chosen else {e.potential for e in results.evaluations if e.role == "student"}
    )
    found = [c for c in results.curves.nve if c.potential in names]
    return next((c for c in reversed(found) if c.drift_meV_per_atom is not None), None)


def verdict(results: ForgeResults) -> tuple[str, Tone, str]:
    """One sentence on whether the potential is good, its tone, and a word for the badge."""
    gate = last_gate(results)
    force = error_of(results, "fine_tuned", "force_rmse")
    accuracy = (
        f"force RMSE {in_words(force.value, force.standard_error, force.unit)} on held-out labels" if force else ""
    )
    if gate is None:
        return "No verdict yet: the run has not reached its gate.", "quiet", "not finished"
    student = chosen_student(results)
    if not gate.passed:
        failed = [c for c in gate.checks if not c.passed]
        named = ", ".join(
            f"{words(c.name)} {in_words(c.value, c.standard_error, c.unit)}"
            + (f" (limit {format_number(c.limit)})" if c.limit is not None else "")
            for c in failed
        )
        text = (
            f"Not good enough: {len(failed)} of {len(gate.checks)} checks of the gate failed: {named or 'none named'}."
        )
        return text, "bad", "gate failed"
    judged = [check for check in gate.checks if check.value is not None]
    start = f"The fine-tuned teacher passed all {len(judged)} checks of its gate"
    if len(judged) < len(gate.checks):
        start += f", {len(gate.checks) - len(judged)} could not be judged"
    start += f" ({accuracy})" if accuracy else ""
    if student is None:
        return f"{start}; no student has been chosen yet.", "quiet", "not finished"
    speed = student.microseconds_per_atom_step
    pace = f" at {in_words(speed.value, speed.standard_error, 'µs')} per atom and step" if speed and speed.value else ""
    if student.meets_target is False:
        ratio = student.error_ratio
        times = (
            f": its force error is {in_words(ratio.value, ratio.standard_error)} times its teacher's" if ratio else ""
        )
        return f"{start}, but the chosen student {student.name}{pace} misses its target{times}.", "bad", "target missed"
    met = " and meets its target" if student.meets_target else ""
    return f"{start}; its student {student.name} runs{pace}{met}.", "good", "gate passed"


def warnings(results: ForgeResults) -> tuple[str, ...]:
    """What must be known before any number is used; smoke labels come first."""
    found = list(results.warnings)
    if results.labels is not None and not results.labels.production:
        found.insert(
            0,
            f"Smoke labels: engine '{results.labels.engine}' is for testing the workflow only. "
            "This potential is not for production and its numbers say nothing about the material.",
        )
    if not results.finished:
        found.append("The run has not finished; parts below are marked 'not reached yet'.")
    return tuple(dict.fromkeys(found))


def cards(results: ForgeResults) -> tuple[Card, ...]:
    """Key numbers on top of the page."""
    made: list[Card] = []
    if results.labels is not None:
        roles = " + ".join(f"{n} {role}" for role, n in results.labels.by_role.items())
        made.append(Card("Labels in all", format_number(results.labels.count, 7), note=roles))
    for error, label in (("force_rmse", "Force RMSE"), ("energy_rmse", "Energy RMSE"), ("stress_rmse", "Stress RMSE")):
        after, before = error_of(results, "fine_tuned", error), error_of(results, "zero_shot", error)
        if after is not None:
            note = f"fine-tuned teacher; zero-shot {format_number(before.value, 3)}" if before else "fine-tuned teacher"
            made.append(_card(label, after, after.unit, note))
    student = chosen_student(results)
    force = error_of(results, "student", "force_rmse")
    if student is not None and force is None:
        force = student.errors_vs_labels.get("force_rmse")
    if force is not None:
        ratio = error_ratio(results)
        notes = [student.name if student else "", chosen_on(results)]
        if ratio is not None:
            notes.insert(1, f"{in_words(ratio.value, ratio.standard_error)} times its teacher's")
        made.append(_card("Student force RMSE", force, force.unit, "; ".join(n for n in notes if n)))
    if student is not None and student.microseconds_per_atom_step is not None:
        gain = student.speedup_over_teacher
        note = f"{in_words(gain.value, gain.standard_error)} times its teacher" if gain and gain.value else ""
        made.append(_card("Student speed", student.microseconds_per_atom_step, "µs/atom/step", note))
    drift = student_drift(results)
    if drift is not None and drift.drift_meV_per_atom is not None:
        span = max((t for t in drift.time_ps if t is not None), default=0.0)
        at = f" at {format_number(drift.temperature_K)} K" if drift.temperature_K is not None else ""
        made.append(
            _card("Energy drift", drift.drift_meV_per_atom, "meV/atom", f"student, {format_number(span)} ps{at}")
        )
    wall = [c.wall_s for c in results.cost if c.wall_s is not None]
    if wall:
        cpu = sum(c.cpu_s or 0.0 for c in results.cost)
        made.append(Card("Wall clock", format_seconds(sum(wall)), note=f"{format_seconds(cpu)} of CPU"))
    return tuple(made)


def _card(label: str, quantity: Quantity, unit: str, note: str) -> Card:
    value, error = format_estimate(quantity.value, quantity.standard_error)
    return Card(label, value, error, unit, note)


def metrics(results: ForgeResults) -> list[dict[str, Any]]:
    """Rows of ``metrics.json``: every headline number with error, unit and the command that made it.

    Returns:
        Rows ``{id, value, standard_error, unit, command, note}``; numbers that are not known are left out.
    """
    prefix = results.metric_prefix or f"forge-{results.name}"
    note = "smoke labels: not for production" if results.labels and not results.labels.production else ""
    rows: list[dict[str, Any]] = []

    def add(name: str, quantity: Quantity | None, unit: str, what: str) -> None:
        if quantity is None or quantity.value is None:
            return
        text = "; ".join(t for t in (what, quantity.method, note) if t)
        rows.append(
            {"id": f"{prefix}-{name}", "value": quantity.value, "standard_error": quantity.standard_error,
             "unit": quantity.unit if quantity.unit not in ("", "1") else unit, "command": results.command,
             "note": text}
        )  # fmt: skip

    if results.labels is not None:
        add("labels", Quantity(value=results.labels.count), "labels", "every label counted")
    for evaluation in _last_of_each(results):
        role, where = evaluation.role.replace("_", "-"), "" if evaluation.set == "test" else f"-{evaluation.set}"
        start = "" if evaluation.role == "fine_tuned" else f"{role}-"
        what = f"{evaluation.potential} on set '{evaluation.set}'"
        for error in errors_shown(evaluation.errors):
            add(f"{start}{metric_name(error)}{where}", evaluation.errors[error], "", what)
    _add_student(results, add)
    wall = [c.wall_s for c in results.cost if c.wall_s is not None]
    if wall and results.finished:
        add("main-job-minutes", Quantity(value=sum(wall) / 60), "min", "sum of the stages' wall time")
    return rows


def _add_student(results: ForgeResults, add: Any) -> None:
    student = chosen_student(results)
    said = "; ".join(t for t in ("student / teacher force RMSE on the same labels", chosen_on(results)) if t)
    add("student-error-ratio", error_ratio(results), "1", said)
    if student is not None:
        add("student-speedup", student.speedup_over_teacher, "1", f"{student.name} against its teacher")
        add("student-microseconds", student.microseconds_per_atom_step, "µs/atom/step", student.name)
    drift = student_drift(results)
    if drift is not None:
        add("student-nve-drift", drift.drift_meV_per_atom, "meV/atom", _drift_words(drift))


def _drift_words(drift: EnergyConservation) -> str:
    span = max((t for t in drift.time_ps if t is not None), default=0.0)
    at = f" at {format_number(drift.temperature_K)} K" if drift.temperature_K is not None else ""
    return f"{format_number(span)} ps{at}"


def _last_of_each(results: ForgeResults) -> list[Evaluation]:
    """Last evaluation of every role on every set; of several students the chosen one."""
    pairs = dict.fromkeys((e.role, e.set) for e in results.evaluations)
    found = [evaluation_of(results, role, set_name) for role, set_name in pairs]
    return [e for e in found if e is not None]
