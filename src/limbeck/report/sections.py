"""The sections of the forge report, each from the records that it needs; what is missing is said, not hidden."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from limbeck.report import curves, figures, learning, readme, tables
from limbeck.report.blocks import (
    Block,
    Cell,
    Code,
    DatasetView,
    Facts,
    Note,
    Plot,
    PlotGrid,
    Section,
    Table,
    count_cell,
    format_number,
    quantity_cell,
)
from limbeck.report.figures import Tested
from limbeck.report.reading import read_points
from limbeck.report.schema import ForgeResults
from limbeck.report.style import Styles
from limbeck.report.verdict import chosen_on, error_of, evaluation_of

Optional = Table | Plot | PlotGrid | None
UNSEEN = ("test", "fresh")
SET_ORDER = ("test", "fresh", "validation")


def tested_on_one_set(results: ForgeResults, run_folder: Path) -> list[Tested]:
    """Zero-shot and fine-tuned teacher and chosen student with their points, all on the best set that has any."""
    sets = sorted(
        {e.set for e in results.evaluations if e.points is not None},
        key=lambda name: (SET_ORDER.index(name) if name in SET_ORDER else len(SET_ORDER), name),
    )
    if not sets:
        return []
    found = [evaluation_of(results, role, sets[0]) for role in ("zero_shot", "fine_tuned", "student")]
    return [(e, read_points(run_folder, e)) for e in found if e is not None and e.points is not None]


def accuracy(results: ForgeResults, tested: Sequence[Tested], styles: Styles) -> Section:
    """Errors against the labels."""
    plots = [figures.parity(quantity, tested, styles) for quantity in ("force", "energy", "stress")]
    on_test = [e for e, _ in tested] or [e for e in results.evaluations if e.set == "test"]
    details = [figures.error_distribution(tested, styles), figures.trajectory_errors(on_test, styles)]
    which = f"Figures show the set '{tested[0][0].set}'. " if tested else ""
    if tested and tested[0][0].set in UNSEEN:
        which = f"Figures show the set '{tested[0][0].set}', which no training has seen. "
    return _section(
        "accuracy",
        "Accuracy",
        f"{which}Errors carry one standard error, from a jackknife over trajectories where the record says so."
        + (f" The student was {on}." if (on := chosen_on(results)) else ""),
        (tables.errors(results.evaluations), *plots, *details, tables.errors_by_element(tested),
         tables.errors_by_trajectory(results.evaluations)),
        "no potential has been tested against the labels",
    )  # fmt: skip


def loop(results: ForgeResults) -> Section:
    """Fine-tuning: gate, learning curve, training, selection."""
    return _section(
        "fine-tuning",
        "Fine-tuning",
        "Explore, filter, select, label, train, test. After each iteration the gate decides whether another is needed.",
        (
            tables.gate(results.iterations),
            tables.loop(results.iterations),
            learning.learning_curve(results.learning_curve, results, error_of(results, "zero_shot", "force_rmse")),
            learning.training_history(results.iterations),
            learning.selection_gains(results.iterations),
            learning.filter_reasons(results.iterations),
        ),
        "no iteration has finished",
    )


def distillation(results: ForgeResults) -> Section:
    """Students: accuracy against speed."""
    target = results.front_target
    lead = "Each student was fitted to labels of the fine-tuned teacher and tested against the first-principles labels."
    if target is not None:
        limits = ((target.force_rmse_eV_per_A, "eV/Å"), (target.microseconds_per_atom_step, "µs per atom and step"))
        parts = [f"at most {format_number(value)} {unit}" for value, unit in limits if value is not None]
        said = [*parts, target.note] if target.note else parts
        lead += f" Target: {', '.join(said)}." if said else ""
    if on := chosen_on(results):
        lead += f" The student was {on}, so its error there is a little too good; errors on other sets are not."
    return _section(
        "students",
        "Students",
        lead,
        (
            figures.front(results, error_of(results, "fine_tuned", "force_rmse")),
            tables.students(results.students),
            tables.student_reasons(results.students),
        ),
        "no student has been fitted",
    )


def properties(results: ForgeResults, styles: Styles) -> Section:
    """Properties of the material by every potential."""
    c = results.curves
    return _section(
        "properties",
        "Properties",
        "What errors in energies and forces come to in quantities that can be compared with experiment.",
        (
            tables.properties(results),
            curves.phonons(c.phonons, styles),
            curves.equation_of_state(c.equation_of_state, styles),
            curves.energy_conservation(c.nve, styles),
            curves.radial_distribution(c.rdf, styles),
        ),
        "no property has been computed",
    )


def production(results: ForgeResults) -> Section:
    """The student's run in LAMMPS."""
    run = results.run
    if run is None:
        return _section("run", "Run", "", (), "the student has not been run in LAMMPS")
    duration = run.steps * run.timestep_fs / 1e3 if run.timestep_fs is not None else None
    facts: list[tuple[str, Cell]] = [("Atoms", count_cell(run.atoms)), ("Ensemble", Cell(run.ensemble.upper() or "–"))]
    for label, value, unit in (
        ("Temperature", run.temperature_K, "K"),
        ("Pressure", run.pressure_GPa, "GPa"),
        ("Length", duration, "ps"),
        ("Time step", run.timestep_fs, "fs"),
    ):
        if value is not None:
            facts.append((label, Cell(f"{format_number(value)} {unit}")))
    if run.ranks is not None:
        facts.append(("MPI ranks", count_cell(run.ranks)))
    if run.microseconds_per_atom_step is not None:
        facts.append(("µs per atom and step", quantity_cell(run.microseconds_per_atom_step)))
    if run.trajectory_file:
        facts.append(("Trajectory", Cell(run.trajectory_file)))
    return _section(
        "run", "Run", "The student drives a large cell in LAMMPS.",
        (curves.thermo(run), tables.averages(results)), "", before=(Facts(tuple(facts)),),
    )  # fmt: skip


def cost(results: ForgeResults) -> Section:
    """Labels and time paid."""
    facts: list[tuple[str, Cell]] = []
    labels = results.labels
    if labels is not None:
        facts.append(("Labels in all", count_cell(labels.count)))
        facts += [(f"… {role}", count_cell(n)) for role, n in labels.by_role.items()]
        facts.append(("Taken from the store", count_cell(labels.reused)))
        if labels.cpu_s is not None and labels.count:
            facts.append(("CPU per label", Cell(f"{format_number(labels.cpu_s / labels.count, 3)} s")))
    return _section(
        "cost", "Cost", "", (figures.cost(results.cost), tables.cost(results)), "no stage has finished",
        before=(Facts(tuple(facts)),) if facts else (),
    )  # fmt: skip


def dataset(results: ForgeResults, n_frames: int, n_shown: int) -> Section:
    """Place of the data-set view."""
    if n_shown == 0:
        return _section("dataset", "Data set", "", (), "no labelled frames have been collected")
    thinned = f" {n_shown} of {n_frames} frames are embedded, spread evenly." if n_shown < n_frames else ""
    caption = (
        "Every point of the map is a labelled frame; a click shows its structure. The menus of the map choose axes, "
        f"color and size among all recorded properties.{thinned}"
    )
    view = DatasetView(caption, n_shown)
    return Section("dataset", "Data set", f"All {n_frames} labelled frames, to look through.", (view,))


def usage(results: ForgeResults) -> Section:
    """How to use the potential."""
    if results.potential is None:
        return _section("use", "Use the potential", "", (), "no student has been chosen")
    lead = "Run these from the run folder. README.md beside this page says the same with units and limits of validity."
    if results.potential.structure is not None:
        lead += f" The input and its structure are there: lmp -in {readme.INPUT_FILE}."
    blocks: list[Block] = [
        Code("LAMMPS", readme.lammps_input(results.potential)),
        Code("Python (ASE)", readme.ase_script(results.potential)),
        Facts(tuple((label, Cell(text)) for label, text in readme.validity(results))),
    ]
    return Section("use", "Use the potential", lead, tuple(blocks))


def provenance(results: ForgeResults) -> Section:
    """Labels, lineage, versions and configuration."""
    blocks: list[Block] = []
    labels = results.labels
    if labels is not None:
        facts = [("Engine", Cell(f"{labels.engine} {labels.version}".strip()))]
        facts += [(str(key).capitalize(), Cell(_plain(value))) for key, value in labels.theory.items()]
        blocks.append(Facts(tuple(facts)))
        if labels.parameters:
            text = yaml.safe_dump(labels.parameters, sort_keys=False, allow_unicode=True)
            blocks.append(Code("All parameters of the label engine", text, folded=True))
    found = (tables.quarantined(results), tables.lineage(results), tables.versions(results))
    blocks += [t for t in found if t is not None]
    if results.config_yaml:
        blocks.append(Code("Resolved configuration", results.config_yaml, folded=True))
    return _section("provenance", "Provenance", "", (), "nothing has been recorded", before=tuple(blocks))


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)


def _section(
    id: str, title: str, lead: str, found: Sequence[Optional], missing: str, before: tuple[Block, ...] = ()
) -> Section:
    """Section of what is there; a note instead where nothing is."""
    blocks = (*before, *(b for b in found if b is not None))
    if not blocks:
        return Section(id, title, "", (Note(f"Not reached yet: {missing}.", pending=True),))
    return Section(id, title, lead, blocks)
