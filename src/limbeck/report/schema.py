"""What a forge run leaves for its report: the typed records of ``results.json``.

Every block is optional, so a run that is still going, or that was killed, also gives a report. Reading is strict: an
unknown key is an error. Numbers that could not be determined are ``null`` (what ``core.record`` writes for NaN).
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from limbeck.core.config import Settings

Role = Literal["zero_shot", "fine_tuned", "student"]
Numbers = tuple[float | None, ...]


class Quantity(Settings):
    """A number with its standard error: the JSON form of :class:`limbeck.core.estimate.Estimate`."""

    value: float | None
    """Best estimate; ``null`` where it could not be determined."""
    standard_error: float | None = None
    """One standard error, same unit; ``null`` where none can be given."""
    n_effective: float | None = None
    """Number of effectively independent samples."""
    unit: str = ""
    """Unit, ``"1"`` or empty for pure numbers."""
    method: str = ""
    """How value and error were obtained."""


def _wrap_number(value: Any) -> Any:
    return {"value": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


QuantityOrNumber = Annotated[Quantity, BeforeValidator(_wrap_number)]
"""A :class:`Quantity`; a bare number is taken as a value without error."""


class Lineage(Settings):
    """One product and what it was made from."""

    product: str
    made_from: tuple[str, ...] = ()
    by_stage: str = ""


class Quarantined(Settings):
    """A frame that was set aside, and why."""

    frame: str
    reason: str


class Labels(Settings):
    """The reference labels: engine, level of theory, counts, cost."""

    engine: str
    version: str = ""
    production: bool = True
    """False for smoke engines; the report then says on top that the potential is not for production."""
    theory: dict[str, Any] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    count: int = Field(ge=0)
    """All labels that the run used, those of the test set included."""
    by_role: dict[str, int] = Field(default_factory=dict)
    """Number of labels by use: train, validation, test, fresh."""
    reused: int = 0
    """How many of them were in the store already."""
    cpu_s: float | None = None
    quarantined: tuple[Quarantined, ...] = ()


class TrajectoryErrors(Settings):
    """Errors on the frames of one trajectory."""

    trajectory: str
    temperature_K: float | None = None
    pressure_GPa: float | None = None
    energy_rmse: float | None = None
    """Energy RMSE, in meV/atom."""
    force_rmse: float | None = None
    """RMSE of the force components, in eV/Å."""


class Points(Settings):
    """Reference and prediction, point by point; force rows are atoms, stress rows are frames."""

    energy_reference: Numbers = ()
    """One a frame, in eV/atom."""
    energy_predicted: Numbers = ()
    force_reference: tuple[Numbers, ...] | Numbers = ()
    """(n_atoms, 3) in eV/Å, all frames one after the other; a flat list of components is also read."""
    force_predicted: tuple[Numbers, ...] | Numbers = ()
    stress_reference: tuple[Numbers, ...] | Numbers = ()
    """(n_frames, 6) in GPa, Voigt order, ASE's sign."""
    stress_predicted: tuple[Numbers, ...] | Numbers = ()
    element: tuple[str, ...] = ()
    """Chemical symbol of every row of ``force_reference``."""


class Evaluation(Settings):
    """One potential, tested on one set of labels."""

    potential: str
    role: Role
    set: str
    """Name of the set: ``test``, ``fresh``, ``validation`` ..."""
    errors: dict[str, QuantityOrNumber] = Field(default_factory=dict)
    """By name. ``energy_rmse``, ``force_rmse``, ``stress_rmse`` and ``force_worst_1_percent`` are known by name; any
    other is shown under its own."""
    by_trajectory: tuple[TrajectoryErrors, ...] = ()
    points: Points | str | None = None
    """The points, or the path of an ``.npz`` with the same names, relative to the run folder."""


class GateCheck(Settings):
    """One check of the gate."""

    name: str
    value: float | None = None
    standard_error: float | None = None
    limit: float | None = None
    unit: str = ""
    passed: bool


class Gate(Settings):
    """All checks after one iteration."""

    passed: bool
    checks: tuple[GateCheck, ...] = ()


class Iteration(Settings):
    """One turn of the fine-tuning loop."""

    index: int
    labels_total: int = 0
    n_train: int = 0
    n_validation: int = 0
    n_candidates: int = 0
    n_filtered_out: int = 0
    filter_reasons: dict[str, int] = Field(default_factory=dict)
    selection_gains: Numbers = ()
    """Information gain (nat) of every frame, in the order of selection."""
    selected_stopped_because: str = ""
    history: tuple[dict[str, float | None], ...] = ()
    """One row an epoch: ``epoch`` and named errors or losses."""
    gate: Gate | None = None


class LearningPoint(Settings):
    """Error reached with so many labels, one selection method and one seed."""

    selection: str
    seed: int = 0
    labels: int = Field(ge=0)
    force_rmse_eV_per_A: float | None = None
    energy_rmse_meV_per_atom: float | None = None


class StudentResult(Settings):
    """One fitted student: accuracy, speed, and whether it was chosen."""

    name: str
    kind: str
    chosen: bool = False
    folder: str = ""
    coefficients: int | None = None
    fit_cpu_s: float | None = None
    microseconds_per_atom_step: QuantityOrNumber | None = None
    speedup_over_teacher: QuantityOrNumber | None = None
    errors_vs_labels: dict[str, QuantityOrNumber] = Field(default_factory=dict)
    errors_vs_teacher: dict[str, QuantityOrNumber] = Field(default_factory=dict)
    error_ratio: QuantityOrNumber | None = None
    """Force RMSE over the teacher's, on the labels of the test set."""
    meets_target: bool | None = None
    why: str = ""


class FrontTarget(Settings):
    """What a student must reach."""

    force_rmse_eV_per_A: float | None = None
    microseconds_per_atom_step: float | None = None
    judged_on: str = ""
    """Set of labels by whose errors the student was chosen; the report says so beside errors on that set."""
    note: str = ""


class PropertyRow(Settings):
    """One property by reference, teacher before and after fine-tuning, and student."""

    name: str
    unit: str = ""
    labels_reference: QuantityOrNumber | None = None
    reference_note: str = ""
    zero_shot: QuantityOrNumber | None = None
    fine_tuned: QuantityOrNumber | None = None
    student: QuantityOrNumber | None = None


class EquationOfState(Settings):
    """Energy against volume by one potential."""

    potential: str
    volume_A3_per_atom: Numbers
    energy_eV_per_atom: Numbers

    @model_validator(mode="after")
    def _same_length(self) -> "EquationOfState":
        return _check_lengths(self, "volume_A3_per_atom", "energy_eV_per_atom")


class PhononBands(Settings):
    """Phonon dispersion by one potential."""

    potential: str
    distance: tuple[float, ...]
    """Path length, (n_points,) in 1/Å."""
    frequencies_THz: tuple[Numbers, ...]
    """(n_bands, n_points); imaginary modes as negative numbers."""
    ticks: tuple[float, ...] = ()
    """Path length of the special points."""
    tick_labels: tuple[str, ...] = ()
    note: str = ""
    """What a reader must know of them, for example that a splitting is missing."""

    @model_validator(mode="after")
    def _shape(self) -> "PhononBands":
        wrong = [len(b) for b in self.frequencies_THz if len(b) != len(self.distance)]
        if wrong:
            raise ValueError(
                f"frequencies_THz of '{self.potential}' has rows of {wrong[0]} values, expected (n_bands, "
                f"{len(self.distance)}): one row a branch; transpose it"
            )
        if len(self.ticks) != len(self.tick_labels):
            raise ValueError(f"{len(self.ticks)} ticks but {len(self.tick_labels)} tick_labels")
        return self


class RadialDistribution(Settings):
    """g(r) by one potential."""

    potential: str
    temperature_K: float | None = None
    pair: str = ""
    r_A: Numbers
    g: Numbers
    standard_error: Numbers = ()
    atoms: int | None = None
    """Atoms of the cell that it was run in."""
    compared: bool = True
    """Run in the same cells and under the same conditions as the other potentials."""

    @model_validator(mode="after")
    def _same_length(self) -> "RadialDistribution":
        return _check_lengths(self, "r_A", "g")


class EnergyConservation(Settings):
    """Total energy in a constant-energy run."""

    potential: str
    temperature_K: float | None = None
    atoms: int | None = None
    timestep_fs: float | None = None
    time_ps: Numbers
    energy_meV_per_atom: Numbers
    """Total energy less its first value."""
    drift_meV_per_atom: QuantityOrNumber | None = None
    """Change over the whole run by a straight-line fit."""

    @model_validator(mode="after")
    def _same_length(self) -> "EnergyConservation":
        return _check_lengths(self, "time_ps", "energy_meV_per_atom")


class Curves(Settings):
    """Everything that is drawn as a curve."""

    equation_of_state: tuple[EquationOfState, ...] = ()
    phonons: tuple[PhononBands, ...] = ()
    rdf: tuple[RadialDistribution, ...] = ()
    nve: tuple[EnergyConservation, ...] = ()


class Thermo(Settings):
    """Time series of a production run."""

    time_ps: Numbers = ()
    temperature_K: Numbers = ()
    pressure_GPa: Numbers = ()
    volume_A3_per_atom: Numbers = ()
    potential_energy_eV_per_atom: Numbers = ()


class ProductionRun(Settings):
    """The student's run in LAMMPS."""

    atoms: int
    ensemble: str = ""
    temperature_K: float | None = None
    pressure_GPa: float | None = None
    steps: int = 0
    timestep_fs: float | None = None
    ranks: int | None = None
    microseconds_per_atom_step: QuantityOrNumber | None = None
    thermo: Thermo = Thermo()
    averages: dict[str, QuantityOrNumber] = Field(default_factory=dict)
    trajectory_file: str = ""


class StageCost(Settings):
    """Wall and CPU time of one stage."""

    stage: str
    wall_s: float | None = None
    cpu_s: float | None = None


class Potential(Settings):
    """The potential to take away."""

    student_kind: str
    folder: str
    """Folder of the LAMMPS files, relative to the run folder."""
    pair_style_lines: tuple[str, ...]
    """LAMMPS lines; ``{folder}`` stands for the folder."""
    settings_lines: tuple[str, ...] = ()
    """LAMMPS lines needed before the pair lines."""
    elements: tuple[str, ...]
    """Chemical symbols of LAMMPS types 1, 2, ..."""
    files: tuple[str, ...] = ()
    teacher_file: str = ""
    structure: dict[str, Any] | None = None
    """A structure to try it on, as :func:`limbeck.labels.serialize.atoms_to_dict` writes it."""


class ForgeResults(Settings):
    """All that a forge run has to tell; the content of ``results.json``."""

    name: str
    title: str = ""
    workflow: str = "forge"
    started: str = ""
    finished: str = ""
    command: str = ""
    seed: int | None = None
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    config_yaml: str = ""
    metric_prefix: str = ""
    """Begins every id in ``metrics.json``; by default ``forge-<name>``."""
    lineage: tuple[Lineage, ...] = ()
    labels: Labels | None = None
    evaluations: tuple[Evaluation, ...] = ()
    iterations: tuple[Iteration, ...] = ()
    learning_curve: tuple[LearningPoint, ...] = ()
    students: tuple[StudentResult, ...] = ()
    front_target: FrontTarget | None = None
    properties: tuple[PropertyRow, ...] = ()
    curves: Curves = Curves()
    run: ProductionRun | None = None
    cost: tuple[StageCost, ...] = ()
    dataset: str | None = None
    """Path of an extended XYZ file with all labelled frames, relative to the run folder."""
    potential: Potential | None = None


def _check_lengths(record: Any, first: str, second: str) -> Any:
    a, b = len(getattr(record, first)), len(getattr(record, second))
    if a != b:
        raise ValueError(f"{first} has {a} values but {second} has {b}; they must pair up")
    return record
