"""Ground state as a matrix product state by block2; limbeck starts this file in a process of its own.

    python dmrg_worker.py IN.npz OUT.npz

block2 (GPL-3) is imported here and nowhere else, and nothing of limbeck is: the interpreter may be one of another
environment. Sites are orbitals in the order of the chain. Modes: ``su2`` (singlets of real models that no rotation of
the spin changes), ``sz`` (real models that conserve its z component), ``general`` (others; a site is a spin orbital).
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CANNOT_IMPORT = 4
"""Exit status where block2 is not there."""
try:
    import numpy as np
except ImportError as missing:
    sys.stderr.write(f"{missing}\n")
    raise SystemExit(CANNOT_IMPORT) from missing

NOISES = (1e-4, 1e-5, 1e-6, 0.0, 0.0, 0.0)
"""Noise of the sweeps at each bond dimension; more without noise follow until the energy stands."""
STANDS = 1e-10
"""Change of the energy by a sweep, relative, at which it does."""
CUTOFF, FALL, LEAST = 1e-2, 0.3, 1e-9
"""Amplitudes of configurations that are looked for: above the first, and ever smaller until there are enough."""


def progress(text: str) -> None:
    """Tell limbeck."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def built(driver: Any, given: dict[str, Any], kind: str, constant: float) -> Any:
    """The Hamiltonian as a matrix product operator, plus a constant."""
    h, (i, j) = given["one_body"], np.nonzero(given["one_body"])
    if kind == "su2":
        n = len(h)
        g = np.zeros((n, n, n, n))
        g[tuple(given["two_body_at"].T)] = given["two_body"]
        return driver.get_qc_mpo(h1e=h, g2e=g, ecore=constant, iprint=0)
    b = driver.expr_builder()
    b.add_const(constant)
    spin = np.arange(len(h)) % 2 if kind == "sz" else np.ones(len(h), int)
    site = np.arange(len(h)) // (2 if kind == "sz" else 1)
    up, down = ("c", "d"), ("C", "D")

    def add(indices: "np.ndarray", daggers: tuple[int, ...], values: "np.ndarray") -> None:
        for pattern in np.unique(spin[indices], axis=0):
            here = np.all(spin[indices] == pattern, axis=1)
            text = "".join((up, down)[s][0 if is_dagger else 1] for s, is_dagger in zip(pattern, daggers, strict=True))
            b.add_term(text, np.ascontiguousarray(site[indices[here]]).ravel(), values[here].tolist())

    add(np.stack([i, j], axis=1), (1, 0), h[i, j])
    if len(given["two_body"]):
        add(given["two_body_at"][:, [0, 1, 3, 2]], (1, 1, 0, 0), 0.5 * given["two_body"])
    return driver.get_mpo(b.finalize(adjust_order=True), iprint=0)


def imported() -> Any:
    """The parts of block2 that are needed; the process ends where it is not there."""
    try:
        from pyblock2.driver.core import DMRGDriver, SymmetryTypes
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(CANNOT_IMPORT) from error
    return DMRGDriver, SymmetryTypes


def solved(given: dict[str, Any], settings: dict[str, Any], folder: str) -> dict[str, Any]:
    """Energies by bond dimension, density matrix, variance, configurations."""
    DMRGDriver, SymmetryTypes = imported()
    kind, is_complex = settings["kind"], np.iscomplexobj(given["one_body"]) or np.iscomplexobj(given["two_body"])
    types = {"su2": SymmetryTypes.SU2, "sz": SymmetryTypes.SZ, "general": SymmetryTypes.SGF}
    symmetry = types[kind] | SymmetryTypes.CPX if is_complex else types[kind]
    driver = DMRGDriver(scratch=folder, symm_type=symmetry, n_threads=1, stack_mem=int(settings["memory_GB"] * 2**30))
    n_sites = len(given["one_body"]) // (2 if kind == "sz" else 1)

    def system() -> None:
        spin = {} if kind == "general" else {"spin": settings["spin_2z"]}
        driver.initialize_system(n_sites=n_sites, n_elec=settings["electrons"], **spin)

    system()
    mpo = built(driver, given, kind, 0.0)
    began, bonds = time.process_time(), []
    ket = driver.get_random_mps(tag="KET", bond_dim=settings["bonds"][0], nroots=1, occs=given["occupations"].tolist())
    for bond in settings["bonds"]:
        last, count, stands = np.inf, 0, False
        while count < settings["sweeps"]:
            noise = NOISES[count] if count < len(NOISES) else 0.0
            energy = float(np.real(driver.dmrg(
                mpo, ket, n_sweeps=1, bond_dims=[bond], noises=[noise], thrds=[1e-10], iprint=0, tol=0
            )))  # fmt: skip
            count += 1
            stands = noise == 0 and abs(last - energy) < STANDS * max(abs(energy), 1.0)
            if stands and count > len(NOISES):
                break
            last = energy
        discarded = float(np.max(driver.get_dmrg_results()[1]))
        bonds.append([bond, energy, discarded, count, time.process_time() - began, stands])
        progress(f"bond {bond} {energy:.12g}")
    ket, _ = driver.adjust_mps(ket, dot=1)
    driver.dmrg(mpo, ket, n_sweeps=6, bond_dims=[bond], noises=[0.0], thrds=[1e-11] * 6, iprint=0, tol=1e-12)
    norm = float(np.real(driver.expectation(ket, driver.get_identity_mpo(), ket)))
    energy = float(np.real(driver.expectation(ket, mpo, ket))) / norm
    # |(H - E) psi|^2 needs a larger bond dimension than psi
    shifted, wide = built(driver, given, kind, -energy), int(settings["wide"] * bond)
    driver.align_mps_center(ket, ref=0)
    pair, _ = driver.adjust_mps(driver.copy_mps(ket, tag="PAIR"), dot=2)
    rest = driver.get_random_mps(tag="REST", bond_dim=wide, center=pair.center, occs=given["occupations"].tolist())
    size = driver.multiply(
        rest, shifted, pair, n_sweeps=4, tol=1e-12, bond_dims=[bond], bra_bond_dims=[wide], thrds=[1e-12] * 4, iprint=0
    )
    variance = float(np.abs(size)) ** 2 / norm
    density = np.asarray(driver.get_1pdm(ket, iprint=0))
    found = {"bonds": np.array(bonds), "energy": energy, "variance": variance, "density": density}
    if kind == "su2":
        ket = driver.mps_change_to_sz(ket, "ZKET", sz=0)
        driver.symm_type = SymmetryTypes.SZ
        system()
    cutoff = CUTOFF
    while True:
        configurations, amplitudes = driver.get_csf_coefficients(ket, cutoff=cutoff, iprint=0)
        if len(amplitudes) >= settings["configurations"] or cutoff < LEAST:
            break
        cutoff *= FALL
    order = np.argsort(-np.abs(amplitudes), kind="stable")[: settings["configurations"]]
    return found | {
        "configurations": np.asarray(configurations)[order],
        "amplitudes": np.asarray(amplitudes)[order] / np.sqrt(norm),
        "cpu_s": time.process_time() - began,
    }


def watched(folder: Path) -> int:
    """Process that ends this one, and takes its folder away, when limbeck is gone and its end of the pipe closes.

    A thread would not do: block2 keeps the interpreter to itself for seconds.
    """
    worker = os.getpid()
    watcher = os.fork()
    if watcher:
        return watcher
    os.close(1)
    sys.stdin.buffer.read()
    if os.getppid() == worker:
        os.kill(worker, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def main() -> None:
    """Read, solve, write."""
    if sys.argv[1:] == ["--check"]:
        imported()
        return
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    watcher = watched(target.parent)
    try:
        with np.load(source) as data:
            given = dict(data)
        settings = json.loads(str(given.pop("settings")))
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            found = solved(given, settings, folder)
        partial = target.with_suffix(".part.npz")
        np.savez(partial, **found)
        partial.replace(target)
    finally:
        os.kill(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)


if __name__ == "__main__":
    main()
