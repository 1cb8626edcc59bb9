"""GPAW in plane-wave mode: the default first-principles engine. It runs as a process of its own, never inside ours.

A crash, a hang or an SCF that does not converge is therefore one :class:`LabelError` with its reason, which quarantines
the frame; what is no fault of the frame (killed from outside, out of memory, a full disk, a GPAW that cannot be
imported) is another error, which stops the run. The GPL-licensed code stays outside this package.

Energy is the free energy at the smearing's temperature, the one whose gradient the forces are; that extrapolated to
zero width is kept in the provenance (they differ by 0.5 to 3 meV/atom in hot silicon at 0.1 eV, not by a constant).
Stress is the analytical one, at a fixed set of plane waves: below convergence it differs from dE/dV by the Pulay
stress, nearly the same for all frames of a material, while the traceless part is sound. So choose the cutoff by the
stress wherever stress is trained on.

Source: Mortensen et al., J. Chem. Phys. 160, 092503 (2024), doi:10.1063/5.0182685.
"""

import contextlib
import errno
import functools
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from limbeck.core.config import Settings
from limbeck.core.errors import (
    DiskFullError,
    ExecutionError,
    LabelError,
    LimbeckError,
    MissingDependencyError,
    UnsupportedElementError,
)
from limbeck.core.record import disk_full_told, hash_file
from limbeck.labels.engines import gpaw_worker
from limbeck.labels.labelled import Fingerprint, Labelled
from limbeck.labels.serialize import atoms_to_dict, canonical

INSTALL_LINE = (
    "pip install gpaw==26.7.0 gpaw-data==1.2.1 (after: apt-get install g++ libxc-dev libopenblas-dev libfftw3-dev)"
)
"""What mends a missing GPAW."""

_SETUP_FUNCTIONAL = {"PBE": "PBE", "PBEsol": "PBE", "RPBE": "RPBE", "revPBE": "revPBE", "LDA": "LDA"}
_INTERRUPTED = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU)
_RANK_SIGNAL = re.compile(r"signal (\d+)\b")  # what MPI launchers say of a rank that was killed
_FAULTS = (
    (gpaw_worker.OUT_OF_MEMORY, re.compile(r"^\S*MemoryError\b", re.M)),
    (gpaw_worker.DISK_FULL, re.compile(rf"^OSError: \[Errno ({errno.ENOSPC}|{errno.EDQUOT})\]", re.M)),
    (gpaw_worker.CANNOT_IMPORT, re.compile(r"^(ModuleNotFound|Import)Error\b", re.M)),
)
"""Exit code of the worker, and its last word where a launcher or a wrapper has replaced the code."""


class GpawSettings(Settings):
    """Plane-wave density functional theory with GPAW."""

    kind: Literal["gpaw"] = "gpaw"
    xc: Literal["PBE", "PBEsol", "RPBE", "revPBE", "LDA"] = "PBE"
    """Exchange-correlation functional. PBEsol uses the PBE data sets."""
    plane_wave_cutoff_eV: float = Field(default=400.0, ge=100, le=2000)
    """Kinetic-energy cutoff of the plane waves. Silicon: forces to 1 meV/Å and stress to 0.1 GPa at 300 eV. Oxides:
    forces to 8 meV/Å at 500 eV, but the stress needs 800 eV (MgO: 18, 5, 1.1, 0.1 GPa off at 500, 600, 700, 800 eV)."""
    k_spacing_per_A: float = Field(default=0.235, gt=0.01, le=10)
    """Largest spacing of k points along each reciprocal vector (2 pi included), Gamma-centered."""
    smearing_eV: float = Field(default=0.1, gt=0, le=2)
    """Width of the Fermi-Dirac occupation."""
    density_convergence: float = Field(default=1e-5, gt=0, le=1e-2)
    """Largest change of the density in the last step, in electrons per valence electron."""
    force_convergence_eV_per_A: float = Field(default=0.002, gt=0, le=0.1)
    """Largest change of a force in the last step."""
    energy_convergence_eV: float = Field(default=1e-5, gt=0, le=1e-2)
    """Largest change of the energy in the last three steps, per valence electron."""
    max_scf_steps: int = Field(default=150, ge=1, le=5000)
    """SCF steps after which the frame is given up and quarantined."""
    spin_polarized: bool = False
    """Collinear spin; starts from the structure's initial magnetic moments. Moments of atoms are those inside the
    augmentation spheres, which hold most of a d or f moment and little of an s or p moment."""
    hubbard_U_eV: dict[str, dict[Literal["s", "p", "d", "f"], float]] = Field(default_factory=dict)
    """Hubbard U by element and shell, for example ``{Fe: {d: 4.3}}`` (Dudarev, effective U)."""
    setups: dict[str, str] = Field(default_factory=dict)
    """Other than the default PAW data set of an element, by its name: ``{Cr: "14"}`` takes ``Cr.14.PBE``."""
    cores: int = Field(default=1, ge=1, le=1024)
    """MPI ranks of one calculation. More than one needs a GPAW built with MPI; many frames run better side by side."""
    mpi_command: tuple[str, ...] = Field(default=("mpirun", "-np", "{cores}"), strict=False)
    """How a calculation on several cores is started."""
    python: str = ""
    """Interpreter that has GPAW; empty for the one that runs limbeck."""
    timeout_s: float = Field(default=7200.0, gt=0)
    """Wall time after which one calculation is stopped and its frame quarantined."""


def k_mesh(atoms: Atoms, spacing_per_A: float) -> tuple[int, int, int]:
    """Numbers of k points whose spacing is at most the given one; 1 along directions that are not periodic.

    Args:
        atoms: The structure; any cell, left-handed and skewed ones too.
        spacing_per_A: Largest distance between neighboring points along each reciprocal vector, 2 pi included.

    Returns:
        ``ceil(|b_i| / spacing)`` for the three reciprocal vectors ``b_i``.
    """
    lengths = 2 * math.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    counts = [
        max(1, math.ceil(length / spacing_per_A - 1e-9)) if periodic else 1
        for length, periodic in zip(lengths, atoms.pbc, strict=True)
    ]
    return counts[0], counts[1], counts[2]


class GpawEngine:
    """The label engine behind :class:`GpawSettings`."""

    def __init__(self, settings: GpawSettings) -> None:
        self.settings = settings

    @property
    def _python(self) -> str:
        return self.settings.python or sys.executable

    def fingerprint(self, atoms: Atoms) -> Fingerprint:
        """Version, parameters with the k mesh, and SHA-256 of each PAW data set; GPAW is not imported.

        Raises:
            MissingDependencyError: If GPAW is not installed.
            UnsupportedElementError: If there is no PAW data set for an element.
        """
        s = self.settings
        found = _installation(self._python)
        elements = sorted(set(atoms.get_chemical_symbols()))
        files = {}
        for element in elements:
            path = _setup_file(element, s, tuple(found["setup_folders"]))
            files[path.name] = _file_hash(str(path), path.stat().st_mtime_ns)
        hubbard = {e: dict(s.hubbard_U_eV[e]) for e in elements if e in s.hubbard_U_eV}
        return Fingerprint(
            engine="gpaw",
            version=found["version"],
            parameters={
                "mode": "plane waves",
                "xc": s.xc,
                "plane_wave_cutoff_eV": s.plane_wave_cutoff_eV,
                "k_mesh": list(k_mesh(atoms, s.k_spacing_per_A)),
                "smearing_eV": s.smearing_eV,
                "density_convergence": s.density_convergence,
                "force_convergence_eV_per_A": s.force_convergence_eV_per_A,
                "energy_convergence_eV": s.energy_convergence_eV,
                "energy": "free energy",
                "spin_polarized": s.spin_polarized,
                "hubbard_U_eV": hubbard,
            },
            files=files,
            theory={"functional": s.xc, "hubbard": _whole(s.hubbard_U_eV), "dispersion": "none"},
        )

    def label(self, atoms: Atoms) -> Labelled:
        """Run GPAW on one structure and wait for it.

        Raises:
            LabelError: If it did not converge, crashed, or ran out of time.
            UnsupportedElementError: If there is no PAW data set for an element.
            MissingDependencyError: If GPAW cannot be imported or started.
            DiskFullError: If there is no space left for its files.
            ExecutionError: If it was killed from outside or ran out of memory; it says nothing about the frame.
        """
        clean = canonical(atoms)
        fingerprint = self.fingerprint(clean)
        scratch = Path(tempfile.gettempdir())
        with disk_full_told(scratch), tempfile.TemporaryDirectory(prefix="limbeck-gpaw-", dir=scratch) as folder:
            answer = self._run(clean, fingerprint, Path(folder))
        if answer["status"] == "wrong_build":
            raise MissingDependencyError(
                f"{answer['reason']}: this GPAW was built without MPI. Set cores: 1, or build GPAW with MPI."
            )
        if answer["status"] != "ok":
            raise LabelError(f"GPAW, {clean.get_chemical_formula()}: {answer['reason']}.")
        stress, moments = answer["stress_eV_per_A3"], answer["magnetic_moments_muB"]
        return Labelled(
            atoms=clean,
            energy=answer["free_energy_eV"],
            forces=np.array(answer["forces_eV_per_A"]),
            stress=None if stress is None else np.array(stress),
            magnetic_moments=None if moments is None else np.array(moments),
            fingerprint=fingerprint,
            provenance={
                "host": socket.gethostname(),
                "cpu_s": answer["cpu_s"],
                "wall_s": answer["wall_s"],
                "peak_memory_MB": answer["peak_memory_MB"],
                "scf_steps": answer["scf_steps"],
                "extrapolated_energy_eV": answer["energy_eV"],
                "total_magnetic_moment_muB": answer["total_magnetic_moment_muB"],
            },
        )

    def _run(self, clean: Atoms, fingerprint: Fingerprint, folder: Path) -> dict[str, Any]:
        """Answer of the worker process; every way in which it can end without one is an error with its reason."""
        s = self.settings
        request, output, log, errors = (folder / n for n in ("request.json", "answer.json", "gpaw.txt", "stderr.txt"))
        request.write_text(json.dumps(self._request(clean, fingerprint, output, log)))
        command = [self._python, gpaw_worker.__file__, str(request)]
        if s.cores > 1:
            command = [part.format(cores=s.cores) for part in s.mpi_command] + command
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with errors.open("wb") as stream:
            process = _start(command, folder, environment, stream)
        try:
            code = process.wait(timeout=s.timeout_s)
        except subprocess.TimeoutExpired:
            raise LabelError(
                f"GPAW, {clean.get_chemical_formula()}: not finished after timeout_s = {s.timeout_s:g} s; stopped. "
                f"Last line: {_last_lines(log, 1)}"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin:
                process.stdin.close()
        if code == 0 and output.exists():
            answer: dict[str, Any] = json.loads(output.read_text())
            return answer
        raise _failure(clean, s, code, errors)

    def _request(self, clean: Atoms, fingerprint: Fingerprint, output: Path, log: Path) -> dict[str, Any]:
        s = self.settings
        calculator = {
            "plane_wave_cutoff_eV": s.plane_wave_cutoff_eV,
            "xc": s.xc,
            "kpts": {"size": fingerprint.parameters["k_mesh"], "gamma": True},
            "occupations": {"name": "fermi-dirac", "width": s.smearing_eV},
            "convergence": {
                "density": s.density_convergence,
                "forces": s.force_convergence_eV_per_A,
                "energy": s.energy_convergence_eV,
            },
            "maxiter": s.max_scf_steps,
        }
        setups = {e: _setup_name(e, s) for e in sorted(set(clean.get_chemical_symbols())) if _setup_name(e, s)}
        if setups:
            calculator["setups"] = setups
        return {
            "atoms": atoms_to_dict(clean),
            "calculator": calculator,
            "setup_folders": _installation(self._python)["setup_folders"],
            "spin_polarized": s.spin_polarized,
            "cores": s.cores,
            "log": str(log),
            "output": str(output),
        }


def _whole(table: Mapping[str, Mapping[Any, float]]) -> dict[str, dict[str, float]]:
    """The U table for all frames alike, whatever elements they hold."""
    return {element: dict(shells) for element, shells in sorted(table.items())}


def _start(
    command: list[str], folder: Path, environment: dict[str, str], stream: IO[bytes]
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=stream, stderr=stream, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        if error.errno in (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE):
            raise ExecutionError(f"GPAW cannot be started now: {error}. Use fewer workers, or run again.") from error
        raise MissingDependencyError(
            f"cannot start {command[0]}: {error}. Check 'python' and 'mpi_command'."
        ) from error


def _failure(clean: Atoms, settings: GpawSettings, code: int, errors: Path) -> LimbeckError:
    """What it means that the worker ended without an answer; only a :class:`LabelError` blames the frame."""
    what, last = f"GPAW, {clean.get_chemical_formula()}", _last_lines(errors, 3)
    text = _last_lines(errors, 1)
    ended_by = -code if code < 0 else code - 128 if code > 128 else 0
    if settings.cores > 1:  # the launcher has its own codes, and the last word
        text = errors.read_text(errors="replace") if errors.exists() else ""
        ended_by = ended_by or int((_RANK_SIGNAL.findall(text) or ["0"])[-1])
    fault = next((number for number, words in _FAULTS if code == number or (code > 0 and words.search(text))), 0)
    if fault == gpaw_worker.CANNOT_IMPORT:
        return MissingDependencyError(
            f"GPAW cannot be imported by {settings.python or sys.executable}: {last}. Install it anew: {INSTALL_LINE}"
        )
    if fault == gpaw_worker.DISK_FULL:
        return DiskFullError(
            f"{what}: {last}. The disk is full: free some space in {errors.parent.parent}, then run again."
        )
    if fault == gpaw_worker.OUT_OF_MEMORY:
        return ExecutionError(f"{what}: out of memory. {last}. Use fewer workers or a larger machine, then run again.")
    if ended_by in _INTERRUPTED:
        memory = " (out of memory?)" if ended_by == signal.SIGKILL else ""
        return ExecutionError(
            f"{what}: interrupted from outside by {signal.Signals(ended_by).name}{memory}. Run again: only this frame "
            "is computed anew."
        )
    if code in (0, gpaw_worker.PARENT_GONE):
        return ExecutionError(f"{what}: ended without an answer, exit code {code}. {last}. Check 'python'; run again.")
    known = ended_by in {int(number) for number in signal.Signals}
    how = f"killed by {signal.Signals(ended_by).name}" if known else f"ended with exit code {code}"
    return LabelError(f"{what}: {how}. {last}")


def _setup_name(element: str, settings: GpawSettings) -> str:
    """What GPAW's ``setups`` keyword takes for an element: data set, then shells with U; empty for the default."""
    shells = ";".join(f"{shell},{u!r}" for shell, u in sorted(settings.hubbard_U_eV.get(element, {}).items()))
    return settings.setups.get(element, "") + (f":{shells}" if shells else "")


def _setup_file(element: str, settings: GpawSettings, folders: tuple[str, ...]) -> Path:
    """PAW data file of an element: the first match in GPAW's own search order."""
    name = ".".join(p for p in (element, settings.setups.get(element, ""), _SETUP_FUNCTIONAL[settings.xc]) if p)
    for folder in folders:
        matches = [path for path in (Path(folder) / name, Path(folder) / f"{name}.gz") if path.is_file()]
        if matches:
            return max(matches)
    raise UnsupportedElementError(
        f"no PAW data set {name} for element {element} in {', '.join(folders) or 'any folder'}. Choose another "
        "data set under 'setups', or give a folder with one in the environment variable GPAW_SETUP_PATH."
    )


@functools.lru_cache(maxsize=256)
def _file_hash(path: str, modified_ns: int) -> str:
    return hash_file(Path(path))


def _installation(python: str) -> dict[str, Any]:
    """GPAW's version and PAW folders as an interpreter sees them.

    Raises:
        MissingDependencyError: If the interpreter or GPAW in it is missing.
    """
    return _describe(python, os.environ.get("GPAW_SETUP_PATH", ""))


@functools.lru_cache(maxsize=16)
def _describe(python: str, setup_path: str) -> dict[str, Any]:
    if python == sys.executable:
        found = gpaw_worker.describe()
    else:
        try:
            command = [python, gpaw_worker.__file__, "describe"]
            text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
            found = json.loads(text)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise MissingDependencyError(f"python: {python} cannot be used for GPAW: {error}.") from error
    if found["version"] is None:
        raise MissingDependencyError(f"GPAW is not installed for {python}. Install it: {INSTALL_LINE}")
    return found


def _last_lines(path: Path, count: int) -> str:
    """Last lines of a log that are not empty, on one line."""
    if not path.exists():
        return "(no output)"
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:])[:1000] or "(no output)"
