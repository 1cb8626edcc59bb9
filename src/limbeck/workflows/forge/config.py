"""Configuration of the forge: what is in the YAML file of ``limbeck forge``, with its defaults."""

import re
from collections import Counter
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from limbeck.core.config import Settings
from limbeck.dynamics.ase_md import ExploreSettings
from limbeck.dynamics.lammps_run import RunSettings
from limbeck.executors import ExecutorSettings, LocalSettings
from limbeck.labels.engines import EngineSettings, StoredSettings
from limbeck.labels.filters import FrameFilter
from limbeck.labels.selection import EntropySelection, SelectionSettings
from limbeck.potentials.finetune import FineTuneSettings
from limbeck.potentials.students import PodSettings, PodUf3Settings, StudentSettings, Uf3Settings
from limbeck.potentials.teachers import SevenNetSettings, TeacherSettings
from limbeck.structures.crystals import StructureSettings
from limbeck.structures.perturb import PerturbSettings

Repeat = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)]
"""Repetitions along the three cell vectors."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""Names of students and of sets to report on: they become parts of file names."""
OWN_SETS = ("test", "fresh", "train", "validation", "teacher-labels")
"""Names of the sets that every run has."""


DISTIL_STEPS = 200
"""Steps of the exploration for the distillation where the file does not give them."""


class TestSetSettings(Settings):
    """The fixed external test set: labelled once, from trajectories of its own, never trained on."""

    __test__ = False

    frames: int = Field(default=12, ge=2)
    """Frames in it. They count as labels."""
    trajectories: int = Field(default=6, ge=1)
    """Trajectories of the universal teacher that they are drawn from, with random numbers of their own."""


class LoopSettings(Settings):
    """The fine-tune loop."""

    trajectories: int = Field(default=6, ge=1)
    """Exploration trajectories in each iteration, spread over starting structures, temperatures and pressures."""
    labels_per_iteration: int = Field(default=12, ge=1)
    """Frames selected and labelled in each iteration."""
    fresh_frames: int = Field(default=4, ge=0)
    """Frames of a fresh trajectory of the fine-tuned teacher, labelled to test it off its own training trajectories;
    from the next iteration on they are trained on."""
    validation_fraction: float = Field(default=0.2, ge=0, lt=1)
    """Share of the labels, by whole trajectories, that picks the best weights and is not trained on."""
    max_iterations: int = Field(default=2, ge=1)
    """Upper bound on the iterations; the loop ends earlier when the gate is passed."""
    stability_steps: int = Field(default=300, ge=10)
    """MD steps of the fresh trajectory at each temperature that the gate looks at."""


class GateSettings(Settings):
    """Limits that the fine-tuned teacher has to meet; errors are against first-principles labels."""

    energy_RMSE_meV_per_atom: float = Field(default=2.0, gt=0)
    """Energy, on the test set. A mean offset counts as an error (the teacher's element energies are fitted to the
    training labels); the report shows the error without it, too."""
    force_RMSE_eV_per_A: float = Field(default=0.05, gt=0)
    """Force components, on the test set."""
    stress_RMSE_GPa: float = Field(default=0.5, gt=0)
    """Stress components, on the test set."""
    worst_atoms_force_error_eV_per_A: float = Field(default=0.25, gt=0)
    """Mean force error of the worst 1 % of the atoms (at least one atom)."""
    fresh_force_RMSE_eV_per_A: float = Field(default=0.075, gt=0)
    """Force components, on frames of a fresh trajectory of the fine-tuned teacher itself; with stored labels, on those
    of a trajectory that the set holds out for this (role ``fresh``)."""


class DistilSettings(Settings):
    """Distillation: the fine-tuned teacher explores and labels many frames, students are fitted to them."""

    explore: ExploreSettings = ExploreSettings(steps=DISTIL_STEPS)
    """Exploration by the teacher and a first student; left out: as ``explore`` of the loop, with 200 steps."""
    trajectories: int = Field(default=6, ge=1)
    """Its trajectories, spread over temperatures and pressures."""
    perturb: PerturbSettings = PerturbSettings(copies=6, strain=0.03, rattle_A=0.03)
    """Starting cells of those trajectories."""
    repeat: Repeat = [2, 1, 1]
    """Repetition of the first structure for the teacher's own exploration."""
    student_rounds: int = Field(default=1, ge=0)
    """Rounds in which a first student explores larger cells and the teacher labels what it met."""
    student_repeat: Repeat = [2, 2, 2]
    """Repetition of the first structure in those rounds."""
    student_frames: int = Field(default=60, ge=1)
    """Frames that the teacher labels in each such round."""
    validation_fraction: float = Field(default=0.15, gt=0, lt=1)
    """Share of the frames, by whole trajectories, that chooses the regularization and measures the students."""
    students: list[StudentSettings] = Field(
        default=[PodSettings(kind="pod"), Uf3Settings(kind="uf3"), PodUf3Settings(kind="pod_uf3")], min_length=1
    )
    """Families and sizes to fit; all of them appear on the accuracy-speed front."""
    speed_atoms: int = Field(default=512, ge=1)
    """Teacher and students are timed on a block of at least so many atoms, on one core, in the same run."""
    stability_atoms: int = Field(default=216, ge=1)
    """Fewest atoms of the constant-energy run that every student must survive to be chosen."""
    stability_time_ps: float = Field(default=5.0, gt=0)
    """Its length; temperature and time step are those of ``properties``."""
    max_drift_meV_per_atom: float = Field(default=1.0, gt=0)
    """Largest change of the total energy in it."""
    max_error_ratio: float = Field(default=1.1, ge=1)
    """The fastest stable student is chosen whose force error against the labels is at most this times the teacher's;
    if none is, the most accurate stable one, and the report says so. Small errors on test frames do not make a
    potential stable: the frames are where the teacher went, dynamics goes where the student leads."""

    @field_validator("students")
    @classmethod
    def _distinct_names(cls, students: list[StudentSettings]) -> list[StudentSettings]:
        for student in students:
            _check_name(student.name, ("teacher",))
        twice = [name for name, count in Counter(s.name.lower() for s in students).items() if count > 1]
        if twice:
            raise ValueError(f"two students are named '{twice[0]}'; give each a 'name' of its own")
        return students


class PropertySettings(Settings):
    """Properties that teacher and student are compared on."""

    phonon_repeat: Repeat | None = None
    """Repetition of the conventional cell for the force constants; by default at least 10 Å in each direction."""
    vacancy_repeat: Repeat = [2, 2, 2]
    """Repetition of the first structure for the vacancy."""
    nve_temperature_K: float = Field(default=1000.0, gt=0)
    """Temperature of the constant-energy run, and of the one that students must survive to be chosen; left out: the
    highest one that is explored."""
    nve_time_ps: float = Field(default=50.0, gt=0)
    """Length of the constant-energy run of the student."""
    nve_timestep_fs: float = Field(default=1.0, gt=0)
    """Its time step."""
    reference: dict[str, tuple[float, str]] = {}
    """Known values to show beside ours: property name -> (value in the property's unit, source)."""


class ForgeSettings(Settings):
    """The whole file. ``limbeck keys`` shows every key."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name; the run folder is called after it."""
    title: str = ""
    """One line for the head of the report."""
    seed: int = Field(default=1, ge=0)
    """Root of all random numbers."""
    structures: list[StructureSettings] = Field(min_length=1)
    """Starting cells. The first one, repeated, also serves distillation, validation and the final run."""
    perturb: PerturbSettings = PerturbSettings()
    """Strained and rattled copies of them, from which exploration starts."""
    teacher: TeacherSettings = SevenNetSettings(kind="sevennet")
    """The universal force field."""
    labels: EngineSettings
    """Where labels come from."""
    label_store: str | None = None
    """Folder of a label store that several runs share, one at a time; by default each run has its own."""
    report_on: dict[str, StoredSettings] = {}
    """Further labelled sets by name, used for nothing but reporting errors on them."""
    allow_mixed_theory: bool = False
    """Allow labels of different functional, U or dispersion settings in one training set."""
    test: TestSetSettings = TestSetSettings()
    """The fixed external test set."""
    explore: ExploreSettings = ExploreSettings()
    """Molecular dynamics that supplies candidates for labels."""
    filter: FrameFilter = FrameFilter()
    """Which frames of it are physical."""
    select: SelectionSettings = EntropySelection(kind="entropy")
    """Which of those are worth a label."""
    loop: LoopSettings = LoopSettings()
    """The fine-tune loop."""
    finetune: FineTuneSettings = FineTuneSettings()
    """How the teacher is fine-tuned."""
    gate: GateSettings = GateSettings()
    """When the loop may end."""
    distil: DistilSettings = DistilSettings()
    """How the student is made."""
    properties: PropertySettings = PropertySettings()
    """What both are compared on."""
    run: RunSettings = RunSettings()
    """The molecular dynamics run of the student."""
    executor: ExecutorSettings = LocalSettings()
    """Where tasks run."""

    @field_validator("report_on")
    @classmethod
    def _free_names(cls, sets: dict[str, StoredSettings]) -> dict[str, StoredSettings]:
        for name in sets:
            _check_name(name, OWN_SETS)
        return sets

    @model_validator(mode="after")
    def _conditions_of_the_loop(self) -> "ForgeSettings":
        """What is left out of later stages is taken from the exploration: one place says what the potential is for."""
        if "explore" not in self.distil.model_fields_set:
            explore = self.explore.model_copy(update={"steps": DISTIL_STEPS})
            object.__setattr__(self, "distil", self.distil.model_copy(update={"explore": explore}))
        if "nve_temperature_K" not in self.properties.model_fields_set:
            hottest = {"nve_temperature_K": max(self.explore.temperatures_K)}
            object.__setattr__(self, "properties", self.properties.model_copy(update=hottest))
        return self


def _check_name(name: str, reserved: tuple[str, ...]) -> None:
    if not re.match(NAME_PATTERN, name):
        raise ValueError(
            f"'{name}' is no name: letters, digits, '-' and '_' are allowed, beginning with one of the first"
        )
    if name in reserved:
        raise ValueError(f"the name '{name}' is taken by limbeck itself; choose another")
