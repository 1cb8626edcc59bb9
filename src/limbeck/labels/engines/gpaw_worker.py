"""One GPAW calculation in a process of its own: this file is run, not imported, by the GPAW engine.

It stands alone (GPAW, ASE and NumPy only), so it also runs in an interpreter in which limbeck is not installed. Its one
argument is the file with the request, a JSON object with ``atoms``, ``calculator``, ``setup_folders``,
``spin_polarized``, ``cores``, ``log`` and ``output``. Standard input is kept open by the parent: when it closes, the
parent is gone and the calculation stops, so that no orphan keeps computing what nobody will read.
"""

import errno
import json
import os
import resource
import sys
import threading
import time
import traceback

PARENT_GONE, OUT_OF_MEMORY, DISK_FULL, CANNOT_IMPORT = 70, 71, 74, 69
"""Exit codes for what is no fault of the structure."""


def describe() -> dict:
    """Version of GPAW, and the folders that it reads PAW data from, found without importing it.

    Returns:
        ``version`` (``None`` if GPAW is not installed) and ``setup_folders``, first match first.
    """
    from importlib import metadata, util

    try:
        version = metadata.version("gpaw")
    except metadata.PackageNotFoundError:
        version = None
    folders = [folder for folder in os.environ.get("GPAW_SETUP_PATH", "").split(os.pathsep) if folder]
    data = util.find_spec("gpaw_data")
    if data is not None and data.origin:
        folders.append(os.path.join(os.path.dirname(data.origin), "setups"))
    return {"version": version, "setup_folders": folders}


def stop_with_parent() -> None:
    """End this process as soon as standard input closes."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(PARENT_GONE)

    threading.Thread(target=wait, daemon=True).start()


def calculate(request: dict) -> dict:
    """Energy, forces, stress and moments of one structure.

    Returns:
        ``status`` ``ok`` with the values in ASE units, or ``not_converged`` / ``wrong_build`` with a ``reason``.
    """
    own_folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != own_folder]  # holds another gpaw.py
    import gpaw
    from ase import Atoms
    from gpaw import GPAW, PW
    from gpaw.mpi import world

    if world.size != request["cores"]:
        return {"status": "wrong_build", "reason": f"{request['cores']} cores asked for, GPAW runs on {world.size}"}
    gpaw.setup_paths[:] = request["setup_folders"]
    values = request["atoms"]
    atoms = Atoms(numbers=values["numbers"], positions=values["positions"], cell=values["cell"], pbc=values["pbc"])
    if request["spin_polarized"]:
        atoms.set_initial_magnetic_moments(values["initial_magnetic_moments"] or [0.0] * len(atoms))
    options = dict(request["calculator"])
    options["mode"] = PW(options.pop("plane_wave_cutoff_eV"))
    calculator = GPAW(txt=request["log"], spinpol=request["spin_polarized"], **options)
    steps = {"count": 0}
    calculator.hooks["scf_step"] = lambda context: steps.update(count=context.niter)
    atoms.calc = calculator
    try:
        energy = atoms.get_potential_energy()
    except gpaw.ConvergenceError:
        return {"status": "not_converged", "reason": f"the density did not converge in {steps['count']} SCF steps"}
    forces = atoms.get_forces()
    stress = atoms.get_stress() if all(atoms.pbc) else None
    return {
        "status": "ok",
        "energy_eV": float(energy),
        "free_energy_eV": float(calculator.get_potential_energy(atoms, force_consistent=True)),
        "forces_eV_per_A": forces.tolist(),
        "stress_eV_per_A3": None if stress is None else stress.tolist(),
        "magnetic_moments_muB": calculator.get_magnetic_moments().tolist() if request["spin_polarized"] else None,
        "total_magnetic_moment_muB": float(calculator.get_magnetic_moment()) if request["spin_polarized"] else None,
        "scf_steps": steps["count"],
        "rank": world.rank,
    }


def main() -> None:
    """Answer the request; the answer is a file that appears whole or not at all."""
    if sys.argv[1:] == ["describe"]:
        sys.stdout.write(json.dumps(describe()))
        return
    with open(sys.argv[1]) as stream:
        request = json.load(stream)
    stop_with_parent()
    start = time.time()
    answer = calculate(request)
    if answer.get("rank", 0) != 0:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer["cpu_s"] = (used.ru_utime + used.ru_stime) * request["cores"]
    answer["wall_s"] = time.time() - start
    answer["peak_memory_MB"] = used.ru_maxrss / (1024.0 if sys.platform != "darwin" else 1048576.0)
    temporary = request["output"] + ".tmp"
    with open(temporary, "w") as stream:
        json.dump(answer, stream)
    os.replace(temporary, request["output"])


def exit_code(error: BaseException) -> int:
    """Exit code of an error: its own for memory, disk and a GPAW that cannot be imported, else 1."""
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    return CANNOT_IMPORT if isinstance(error, ImportError) else 1


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(exit_code(error))
