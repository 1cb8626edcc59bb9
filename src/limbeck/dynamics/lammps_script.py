"""LAMMPS input: readable scripts that a user can rerun by hand."""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from limbeck.core.config import Settings
from limbeck.core.errors import DynamicsError

if TYPE_CHECKING:
    from limbeck.potentials.protocols import PairStyle

BAR_PER_GPA = 1.0e4
DATA_FILE = "start.data"
POTENTIAL_FOLDER = "potential"
Phase = Literal["equilibration", "production"]

THERMO_COLUMNS = {
    "Step": "step",
    "Temp": "temperature_K",
    "PotEng": "potential_energy_eV",
    "KinEng": "kinetic_energy_eV",
    "TotEng": "total_energy_eV",
    "Press": "pressure_GPa",
    "Pxx": "pressure_xx_GPa",
    "Pyy": "pressure_yy_GPa",
    "Pzz": "pressure_zz_GPa",
    "Pyz": "pressure_yz_GPa",
    "Pxz": "pressure_xz_GPa",
    "Pxy": "pressure_xy_GPa",
    "Volume": "volume_A3",
    "Lx": "cell_xx_A",
    "Ly": "cell_yy_A",
    "Lz": "cell_zz_A",
    "Xy": "cell_xy_A",
    "Xz": "cell_xz_A",
    "Yz": "cell_yz_A",
}
"""Header of a column in the LAMMPS log -> its name, with unit, in the thermo table."""

THERMO_WORDS = "step temp pe ke etotal press pxx pyy pzz pyz pxz pxy vol lx ly lz xy xz yz"


class RunSettings(Settings):
    """One LAMMPS run of a student."""

    ensemble: Literal["npt", "nvt", "nve"] = "npt"
    """``npt`` and ``nvt`` use a Nosé-Hoover chain (and Martyna-Tobias-Klein barostat), right for large systems; ``nve``
    equilibrates in ``nvt`` and then conserves energy."""
    temperature_K: float = Field(default=300.0, gt=0)
    """Target temperature."""
    pressure_GPa: float = 0.0
    """Target pressure (``npt``)."""
    timestep_fs: float = Field(default=2.0, gt=0, le=10)
    """Time step."""
    steps: int = Field(default=5000, ge=1)
    """Production steps."""
    equilibration_steps: int = Field(default=1000, ge=0)
    """Steps before production; they enter neither table nor trajectory."""
    least_atoms: int = Field(default=1000, ge=1)
    """The structure is repeated, as near to a cube as it goes, to at least this many atoms (see ``repeat``)."""
    repeat: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)] | None = None
    """Repetitions along the three cell vectors; overrides ``least_atoms``."""
    thermo_every: int = Field(default=50, ge=1)
    """Steps between rows of the thermo table."""
    dump_every: int = Field(default=100, ge=0)
    """Steps between frames of the trajectory; 0 writes none."""
    restart_every: int = Field(default=5000, ge=1)
    """Steps between restart files: what a killed run loses at most."""
    ranks: int = Field(default=1, ge=1)
    """MPI ranks."""
    threads: int = Field(default=1, ge=1)
    """OpenMP threads a rank; above 1 the ``omp`` variant of a style is used where LAMMPS has one."""
    barostat: Literal["iso", "aniso", "tri"] = "aniso"
    """What moves in ``npt``: the volume; three lengths; three lengths and three tilts."""
    thermostat_time_fs: float = Field(default=100.0, gt=0)
    """Damping time of the thermostat."""
    barostat_time_fs: float = Field(default=1000.0, gt=0)
    """Damping time of the barostat."""
    neighbor_skin_A: float = Field(default=1.0, gt=0)
    """Skin of the neighbor lists."""

    @model_validator(mode="after")
    def _has_rows(self) -> "RunSettings":
        if self.thermo_every > self.steps:
            raise ValueError("thermo_every must not be larger than steps: the table would hold the start only")
        return self


def repeats_for(cell: np.ndarray, n_atoms: int, least_atoms: int) -> tuple[int, int, int]:
    """Repetitions that give at least ``least_atoms`` atoms in a supercell as near to a cube as the cell allows.

    Args:
        cell: Lattice vectors as rows, Å.
        n_atoms: Atoms in the cell.
        least_atoms: Wanted number.

    Returns:
        Repetitions along the three vectors; ``(1, 1, 1)`` if the cell is large enough.
    """
    volume = abs(np.linalg.det(cell))
    widths = volume / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    repeats = np.ones(3, dtype=int)
    while n_atoms * int(np.prod(repeats)) < least_atoms:
        repeats[int(np.argmin(widths * repeats))] += 1
    return int(repeats[0]), int(repeats[1]), int(repeats[2])


def supercell(atoms: Atoms, settings: RunSettings) -> Atoms:
    """Structure that LAMMPS starts from: repeated as the settings say, without calculator and velocities."""
    repeats = (
        tuple(settings.repeat) if settings.repeat else repeats_for(atoms.cell[:], len(atoms), settings.least_atoms)
    )
    bare = Atoms(
        atoms.get_atomic_numbers(), atoms.get_positions(), cell=atoms.cell[:], pbc=atoms.pbc, masses=atoms.get_masses()
    )
    return bare.repeat(repeats)


def input_script(
    pair: "PairStyle",
    atoms: Atoms,
    settings: RunSettings,
    *,
    seed: int,
    resume: tuple[Phase, int] | None = None,
) -> str:
    """LAMMPS script of a run, or of what is left of it.

    Args:
        pair: The potential; its files are expected in ``potential/``.
        atoms: The supercell.
        settings: The run.
        seed: Seed of the velocities.
        resume: Phase and step of the restart file to go on from; ``None`` starts anew.

    Returns:
        The script. It writes ``thermo`` rows to the log, frames to ``production.<step>.lammpstrj``, and restart files
        ``<phase>.<step>.restart``, each renamed into place when it is complete.

    Raises:
        DynamicsError: If the ensemble does not fit the structure's periodicity.
    """
    if settings.ensemble == "npt" and not atoms.pbc.all():
        raise DynamicsError(f"npt needs periodicity along all directions, the structure has {atoms.pbc.tolist()}.")
    phase, step = resume or ("equilibration", 0)
    lines = [*_head(atoms, settings), *pair.settings, *_start(settings, resume)]
    lines += ["", "# the potential", *(line.format(folder=POTENTIAL_FOLDER) for line in pair.lines)]
    if resume is None:
        lines.append(f"velocity all create {settings.temperature_K:.10g} {seed} mom yes rot no dist gaussian")
    lines += ["", *_output(settings)]
    if phase == "equilibration":
        if settings.equilibration_steps:
            lines += ["", "# equilibration", *_integrate("equilibration", settings, step)]
        lines += ["reset_timestep 0"]
        step = 0
    lines += ["", "# production", *_integrate("production", settings, step)]
    return "\n".join(lines) + "\n"


def _head(atoms: Atoms, settings: RunSettings) -> list[str]:
    boundary = " ".join("p" if periodic else "s" for periodic in atoms.pbc)
    return [
        f"# {len(atoms)} atoms, {settings.ensemble}, {settings.temperature_K:g} K, {settings.pressure_GPa:g} GPa",
        "# run in this folder: lmp -in <this file>",
        "units metal            # Angstrom, eV, ps, bar",
        f"boundary {boundary}",
        "atom_style atomic",
        "atom_modify map yes",
    ]


def _start(settings: RunSettings, resume: tuple[Phase, int] | None) -> list[str]:
    """Atoms and neighbor lists; the skin is told each time, since a restart file does not hold it."""
    return [
        f"read_restart {restart_name(*resume)}" if resume else f"read_data {DATA_FILE}",
        f"neighbor {settings.neighbor_skin_A:g} bin",
        "neigh_modify every 1 delay 0 check yes",
    ]


def _output(settings: RunSettings) -> list[str]:
    limit = 10.0 * settings.temperature_K + 2000.0
    return [
        f"timestep {settings.timestep_fs * 1e-3:.10g}",
        f"thermo_style custom {THERMO_WORDS}",
        "thermo_modify flush yes lost error format float %.15g",
        f"thermo {settings.thermo_every}",
        "# stop a run that explodes",
        "variable hot equal temp",
        f"fix explosion all halt 100 v_hot > {limit:g} error hard message yes",
    ]


def _integrate(phase: Phase, settings: RunSettings, step: int) -> list[str]:
    ensemble = "nvt" if phase == "equilibration" and settings.ensemble == "nve" else settings.ensemble
    temperature = f"temp {settings.temperature_K:.10g} {settings.temperature_K:.10g}"
    words = "nve"
    if ensemble != "nve":
        words = f"{ensemble} {temperature} {settings.thermostat_time_fs * 1e-3:.10g}"
    if ensemble == "npt":
        pressure = settings.pressure_GPa * BAR_PER_GPA
        words += f" {settings.barostat} {pressure:.10g} {pressure:.10g} {settings.barostat_time_fs * 1e-3:.10g}"
    total = settings.steps if phase == "production" else settings.equilibration_steps
    lines = [f"fix integrate all {words}"]
    if phase == "production" and settings.dump_every:
        lines += [
            f"dump frames all custom {settings.dump_every} {dump_name(step)} id type x y z ix iy iz vx vy vz",
            "dump_modify frames sort id format float %.10g",
        ]
    lines += [
        f"run {total} upto every {settings.restart_every} "
        f"'write_restart unfinished.restart' 'shell mv unfinished.restart {phase}.$(step:%.0f).restart'",
        "unfix integrate",
    ]
    return lines


def restart_name(phase: Phase, step: int) -> str:
    """File name of the restart of a phase at a step."""
    return f"{phase}.{step}.restart"


def dump_name(first_step: int) -> str:
    """File name of the part of the trajectory that starts at a step."""
    return f"production.{first_step}.lammpstrj"
