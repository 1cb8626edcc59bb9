"""Matrix product states of bond dimension m by block2: run by impurity_mps.py in the peers' environment.

mps_peer.py MODEL.json OUTPUT.json

For each symmetry and bond dimension: two-site sweeps with noise from a state that has the given occupations, up to 64
also with four times the bond dimension and then cut down (the better counts); one-site sweeps without noise; and then
of the stored state itself: the energy <psi|H|psi>, how many numbers its block-sparse site tensors hold, and how many
remain without the gauge.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pyblock2.algebra.io import MPSTools
from pyblock2.driver.core import DMRGDriver, SymmetryTypes

SAME = 1e-9
"""Energies this close are the same."""
KINDS = {"U(1)xU(1)": SymmetryTypes.SZ, "SU(2)": SymmetryTypes.SU2}


def counted(ket: object) -> dict:
    """Numbers in the site tensors of a one-site state, and those that remain without gauge and norm.

    A block is one allowed (left, physical, right) triple of quantum numbers; a tensor stores all of its elements. On a
    bond with n_q states of quantum number q, psi does not change under any invertible n_q x n_q matrix put in with its
    inverse: sum_q n_q^2 numbers of the bond are free of meaning, and the norm is one more.
    """
    tensors = MPSTools.from_block2(ket).tensors
    stored = [sum(int(np.asarray(block.reduced).size) for block in tensor.blocks) for tensor in tensors]
    gauge, bonds = 0, []
    # the centre is an end whose tensor is fused: bonds are read from the other side
    inner, leg = (tensors[1:], 0) if ket.center == 0 else (tensors[:-1], -1)
    for tensor in inner:
        states: dict[str, int] = {}
        for block in tensor.blocks:
            states[str(block.q_labels[leg])] = int(np.asarray(block.reduced).shape[leg])
        gauge += sum(n * n for n in states.values())
        bonds.append(sum(states.values()))
    return {"numbers": sum(stored), "free": sum(stored) - gauge - 1, "sites": stored, "bonds": bonds}


def optimized(given: dict, kind: str, bond: int, start: int) -> dict:
    """Energy and counts of a state of a bond dimension, swept from the beginning with ``start`` and cut down to it."""
    h, g = np.array(given["one_body"]), np.array(given["two_body"])
    with tempfile.TemporaryDirectory() as folder:
        driver = DMRGDriver(scratch=folder, symm_type=KINDS[kind], n_threads=1)
        driver.initialize_system(n_sites=len(h), n_elec=given["electrons"], spin=0)
        mpo = driver.get_qc_mpo(h1e=h, g2e=g, ecore=0, iprint=0)
        began = time.process_time()
        ket = driver.get_random_mps(tag="KET", bond_dim=start, nroots=1, occs=given["occupations"])
        sweeps = given["sweeps"] // 3
        noises = [1e-4] * sweeps + [1e-6] * sweeps + [0.0] * sweeps
        driver.dmrg(
            mpo, ket, n_sweeps=3 * sweeps, bond_dims=[start], noises=noises, thrds=[1e-9] * 3 * sweeps, iprint=0, tol=0
        )
        if start > bond:  # cut down by halves
            bonds = [b for b in (start // 2, start // 4, start // 8, start // 16) if b > bond] + [bond] * 4
            driver.dmrg(
                mpo, ket, n_sweeps=len(bonds), bond_dims=bonds, noises=[0.0], thrds=[1e-9] * len(bonds), iprint=0, tol=0
            )
        ket, _ = driver.adjust_mps(ket, dot=1)
        driver.dmrg(mpo, ket, n_sweeps=8, bond_dims=[bond], noises=[0.0], thrds=[1e-12] * 8, iprint=0, tol=1e-12)
        seconds = time.process_time() - began
        energy = float(driver.expectation(ket, mpo, ket)) / float(
            driver.expectation(ket, driver.get_identity_mpo(), ket)
        )
        return {"symmetry": kind, "bond": bond, "energy": energy, "seconds": seconds, **counted(ket)}


def main() -> None:
    """Every model, symmetry, bond dimension."""
    given = json.loads(Path(sys.argv[1]).read_text())
    found = []
    for kind in given["symmetries"]:
        for bond in given["bonds"]:  # small ones also by compression: straight sweeps stay in local minima there
            tried = [optimized(given, kind, bond, start) for start in ((bond, 4 * bond) if bond <= 64 else (bond,))]
            straight, *others = tried  # cutting down leaves more empty states: it counts only where the energy is lower
            better = [state for state in others if state["energy"] < straight["energy"] - SAME]
            found.append(min(better, key=lambda state: state["energy"], default=straight))
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
