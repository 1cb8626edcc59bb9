"""Spectral function of an impurity by block2: run by impurity_spectrum.py in the peers' environment.

spectrum_peer.py MODEL.json OUTPUT.npz

``method``: ``correction`` (dynamical DMRG: SU(2), one correction vector for each energy and each of the two parts,
begun from that of the energy before) or ``time`` (two-site TDVP of c+|0> and c|0>, U(1)xU(1), complex; for a real H
<phi(t)*|phi(t)> is the correlation at 2 t). Ground state and operator are made once and are not in the time of the
energies; all CPU seconds are of this process.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pyblock2.driver.core import DMRGDriver, SymmetryTypes
from scipy.interpolate import CubicSpline


def prepared(given: dict, kind: "SymmetryTypes", folder: str) -> tuple:
    """Driver, ground state, energy."""
    h, place = np.array(given["one_body"]), given["impurity_site"]
    g = np.zeros((len(h),) * 4)
    g[place, place, place, place] = given["u"]
    driver = DMRGDriver(scratch=folder, symm_type=kind, n_threads=1)
    driver.initialize_system(n_sites=len(h), n_elec=given["electrons"], spin=0)
    mpo = driver.get_qc_mpo(h1e=h, g2e=g, ecore=0, iprint=0)
    ket = driver.get_random_mps(tag="KET", bond_dim=given["ground_bond"], nroots=1, occs=given["occupations"])
    noises = [1e-4] * 4 + [1e-6] * 4 + [0.0] * 6
    energy = driver.dmrg(
        mpo, ket, n_sweeps=14, bond_dims=[given["ground_bond"]], noises=noises, thrds=[1e-10] * 14, iprint=0, tol=1e-11
    )  # fmt: skip
    return driver, mpo, ket, complex(energy).real


def applied(driver: "DMRGDriver", ket: object, operator: str, place: int, bond: int) -> tuple:
    """The operator, and what it makes of the ground state."""
    mpo = driver.get_site_mpo(op=operator, site_index=place, iprint=0)
    if SymmetryTypes.SU2 in driver.symm_type:  # an operator of spin 1/2 leads to a state with another left vacuum
        start = driver.get_random_mps(
            tag=f"START-{operator}", bond_dim=bond, center=ket.center, left_vacuum=mpo.left_vacuum
        )
    else:
        start = driver.get_random_mps(
            tag=f"START-{operator}", bond_dim=bond, center=ket.center, target=ket.info.target + mpo.op.q_label
        )
    driver.multiply(
        start, mpo, ket, n_sweeps=10, bond_dims=[bond], bra_bond_dims=[bond], thrds=[1e-12] * 10, tol=1e-10, iprint=0
    )
    return mpo, start


def correction(given: dict) -> dict:
    """A(w) at the given energies, one correction vector after the other."""
    frequencies, eta, bond = np.array(given["frequencies"]), given["half_width"], given["bond"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        driver, mpo, ket, energy = prepared(given, SymmetryTypes.SU2, folder)
        ground = time.process_time() - began
        values, parts = np.zeros(len(frequencies), complex), np.zeros((2, len(frequencies)))
        began = time.process_time()
        for operator, sign in (("C", -1.0), ("D", 1.0)):
            shifted = sign * mpo
            shifted.const_e -= sign * energy
            site, start = applied(driver, ket, operator, given["impurity_site"], bond)
            bra = driver.copy_mps(start, tag=f"BRA-{operator}")
            # from outside the band inwards: a vector carried outwards over a resonance converges slowly
            for k in range(len(frequencies))[:: -1 if operator == "C" else 1]:
                w = frequencies[k]
                before = time.process_time()
                values[k] += driver.greens_function(
                    bra, shifted, site, ket, w, eta, n_sweeps=given["sweeps"], tol=given["tolerance"],
                    bra_bond_dims=[bond], ket_bond_dims=[given["ground_bond"]], cutoff=1e-12,
                    linear_max_iter=given["iterations"],
                    thrds=[given["threshold"]] * given["sweeps"], iprint=0,
                )  # fmt: skip
                parts[0 if operator == "C" else 1, k] = time.process_time() - before
                sys.stderr.write(f"{operator} {w:.3f} {parts[:, k].max():.2f} s {values[k]}\n")
        seconds = time.process_time() - began
    return {"frequencies": frequencies, "spectrum": -values.imag / np.pi / 2, "ground_s": ground, "seconds": seconds,
            "solves_s": parts}  # fmt: skip


def evolved(given: dict) -> dict:
    """A(w) at the given energies from the time evolution, damped by the half width."""
    frequencies, eta, bond = np.array(given["frequencies"]), given["half_width"], given["bond"]
    step, n_steps = given["time_step"], given["time_steps"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        driver, mpo, ket, energy = prepared(given, SymmetryTypes.SZ | SymmetryTypes.CPX, folder)
        ground = time.process_time() - began
        began = time.process_time()
        times = 2 * step * np.arange(n_steps + 1)
        total = np.zeros(len(frequencies), complex)
        shifted = 1.0 * mpo
        shifted.const_e -= energy
        unit = driver.get_identity_mpo()
        for operator, sign in (("c", 1.0), ("d", -1.0)):
            _, state = applied(driver, ket, operator, given["impurity_site"], bond)
            course = [correlated(driver, unit, state)]
            for _ in range(n_steps):
                state = driver.td_dmrg(
                    shifted, state, delta_t=1j * step, target_t=1j * step, n_steps=1, te_type="tdvp", hermitian=True,
                    bond_dims=[bond], cutoff=given["cutoff"], krylov_conv_thrd=1e-10, iprint=0,
                    final_mps_tag=f"TIME-{operator}",
                )  # fmt: skip
                course.append(correlated(driver, unit, state))
                sys.stderr.write(f"{operator} {len(course)} {time.process_time() - began:.1f} s\n")
            course = (
                np.array(course) * abs(course[0]) / course[0]
            )  # without the phase that the ground state happens to have
            total += transformed(times, course, sign, frequencies, eta)
        seconds = time.process_time() - began
    return {"frequencies": frequencies, "spectrum": -total.imag / np.pi, "ground_s": ground, "seconds": seconds}


def correlated(driver: "DMRGDriver", unit: object, state: object) -> complex:
    """``<phi*|phi>``."""
    bra = driver.copy_mps(state, tag="CONJUGATE")
    conjugate(bra)
    return driver.expectation(bra, unit, state)


def conjugate(state: object) -> None:
    """Complex conjugate of a state, in place."""
    for k in range(state.n_sites):
        if state.tensors[k] is not None:
            state.load_tensor(k)
            tensor = state.tensors[k]
            for i in range(tensor.info.n):
                block = np.asarray(tensor[i])  # a view of the block
                block[:] = block.conj()
            state.save_tensor(k)
            state.unload_tensor(k)


def transformed(times: np.ndarray, course: np.ndarray, sign: float, frequencies: np.ndarray, eta: float) -> np.ndarray:
    """``-i integral e^(i (w + i eta) t) <phi|e^(-+i H t)|phi> dt``, a cubic spline between the times."""
    fine = np.linspace(0.0, times[-1], 16 * (len(times) - 1) + 1)
    values = CubicSpline(times, course if sign > 0 else course.conj())(fine) * np.exp(-eta * fine)
    weights = np.full(len(fine), 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    return -1j * np.exp(1j * np.outer(frequencies, fine)) @ (values * weights) * (fine[1] / 3)


if __name__ == "__main__":
    model = json.loads(Path(sys.argv[1]).read_text())
    np.savez(sys.argv[2], **{"correction": correction, "time": evolved}[model["method"]](model))
