"""Matrix product states by block2: exact energies, densities and signs in every symmetry, bounds, what can go wrong."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from block2 import PYTHON, needs_block2
from limbeck.core.errors import ConfigError, DiskFullError, ExecutionError, MissingDependencyError
from limbeck.impurity import dmrg_worker
from limbeck.impurity.bath import semicircle
from limbeck.impurity.dmrg import chain_order, dmrg_state, require_block2
from limbeck.impurity.dmrg_interpreter import interpreter_with_block2
from limbeck.impurity.exact import exact_ground
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.subspace import numbers


def one_orbital(n_bath=5, u=2.0, electrons=None, spin_2z=0):
    energies, couplings = semicircle(n_bath)
    return anderson([[-u / 2]], energies, couplings, kanamori(1, u), electrons or n_bath + 1, spin_2z)


def two_orbitals(n_bath=2, spin_2z=0, phase=0.0, interaction=None):
    energies, couplings = semicircle(n_bath)
    hybridization = np.kron(np.eye(2), couplings).astype(complex)
    hybridization[0] *= np.exp(1j * phase)
    levels = np.array([[-1.5, 0.2 * np.exp(2j * phase)], [0.2 * np.exp(-2j * phase), -1.3]])
    if phase == 0:
        hybridization, levels = hybridization.real, levels.real
    u = kanamori(2, 2.0, 0.4) if interaction is None else interaction
    return anderson(levels, np.tile(energies, 2), hybridization, u, 2 * n_bath + 2, spin_2z)


def ising():
    """Hund's coupling along z alone: rotations of the spin change H."""
    u = kanamori(2, 2.0, 0.4)
    a, b, c, d = np.indices(u.shape)
    return two_orbitals(interaction=np.where(((a == c) & (b == d)) | ((a == d) & (b == c)), u, 0.0))


def with_spin_orbit():
    model = two_orbitals()
    h = model.one_body.astype(complex)
    h[0, 3], h[3, 0], h[1, 2], h[2, 1] = 0.3j, -0.3j, 0.3j, -0.3j
    return ImpurityModel(h, model.interaction, model.n_electrons, None)


MODELS = {
    "one orbital": (one_orbital, "SU(2)"),
    "odd": (lambda: one_orbital(electrons=7, spin_2z=1), "U(1)xU(1)"),
    "two orbitals": (lambda: two_orbitals(3), "SU(2)"),
    "triplet": (two_orbitals, "U(1)xU(1)"),
    "polarized": (lambda: two_orbitals(spin_2z=2), "U(1)xU(1)"),
    "Ising": (ising, "U(1)xU(1)"),
    "complex": (lambda: two_orbitals(phase=0.7), "U(1)xU(1)"),
    "spin-orbit": (with_spin_orbit, "U(1)"),
}


@pytest.mark.parametrize("name", MODELS)
def test_chains_have_the_active_orbitals_between_filled_and_empty_ones(name):
    basis = natural_orbitals(MODELS[name][0]())
    order = chain_order(basis)
    assert sorted(order) == list(range(len(order)))
    side = np.where(basis.is_active[0::2], 0, np.where(basis.is_filled[0::2], -1, 1))[order]
    assert np.all(np.diff(side) >= 0)


class TestBlock2:
    pytestmark = needs_block2

    @pytest.mark.parametrize("name", MODELS)
    def test_state_density_and_signs_are_the_exact_ones(self, name):
        make, symmetry = MODELS[name]
        basis = natural_orbitals(make())
        truth = exact_ground(basis)
        found = dmrg_state(basis, (32, 100), 20_000, python=PYTHON)
        assert found.symmetry == symmetry
        assert -1e-10 < found.energy - truth.energy < 1e-7
        assert found.variance < 1e-6
        assert not found.is_stuck
        np.testing.assert_allclose(found.density, truth.density(), atol=2e-5)
        # amplitudes with their signs: overlap with the exact vector, and the energy of what was kept
        place = numbers(truth.rows, found.state.rows)
        assert np.all(place >= 0)
        assert abs(np.vdot(truth.vector[place], found.state.vector)) == pytest.approx(1.0, abs=1e-7)
        assert found.state.energy == pytest.approx(found.energy, abs=1e-9)
        assert found.weight == pytest.approx(1.0, abs=1e-9)

    def test_small_bond_dimensions_bound_the_energy_and_a_stuck_state_is_told_of(self):
        basis = natural_orbitals(two_orbitals())
        truth = exact_ground(basis).energy
        said = []
        found = dmrg_state(basis, (4, 8, 16, 32), 200, python=PYTHON, tell=lambda m, e: said.append((m, e)))
        energies = [b.energy for b in found.bonds]
        assert [m for m, _ in said] == [4, 8, 16, 32]
        assert np.all(np.diff(energies) < 1e-9)
        assert energies[-1] > truth - 1e-10
        assert found.state.energy > found.energy - 1e-10
        assert len(found.state.rows) == 200
        assert found.weight < 1.0
        value, error = found.extrapolated
        assert abs(value - truth) < error + 1e-9
        assert value <= found.bonds[-1].energy
        assert all(b.stands for b in found.bonds)
        rough = dmrg_state(basis, (8, 16), 200, python=PYTHON)
        assert abs(rough.extrapolated[0] - truth) < rough.extrapolated[1]
        coarse = dmrg_state(basis, (4,), 200, python=PYTHON)
        assert coarse.is_stuck
        assert coarse.extrapolated[1] == np.inf
        assert coarse.variance > found.variance > 0
        # variance is that of the state: no lower than what its configurations show
        assert coarse.variance > (coarse.energy - truth) ** 2


@pytest.mark.parametrize("bonds", [(), (16, 8), (8, 8), (1, 4)])
def test_bond_dimensions_that_cannot_be(bonds):
    with pytest.raises(ConfigError, match="increase"):
        dmrg_state(natural_orbitals(one_orbital(3)), bonds)


def test_a_relative_interpreter_is_found_from_anywhere(tmp_path, monkeypatch):
    stands_in(tmp_path, "exit 0")
    monkeypatch.chdir(tmp_path)
    assert interpreter_with_block2("./python") == str(tmp_path / "./python")
    monkeypatch.setenv("LIMBECK_BLOCK2_PYTHON", "./python")
    require_block2()
    assert interpreter_with_block2("python3") == "python3"
    with pytest.raises(MissingDependencyError, match=r"cannot start .*other"):
        require_block2("./other")


def test_too_many_orbitals_are_told():
    with pytest.raises(ConfigError, match="too many for block2"):
        dmrg_state(natural_orbitals(one_orbital(255)), (8,))


def stands_in(tmp_path, text):
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\n[ "$2" = --check ] && exit 0\n{text}\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("kill -9 $$", ExecutionError, "was killed, perhaps for memory"),
        ("echo 'OSError: [Errno 28] No space left on device' >&2; exit 1", DiskFullError, "Free some space"),
        ("echo 'ValueError: odd' >&2; exit 1", ExecutionError, "ValueError: odd"),
        ("exit 0", ExecutionError, "exit status 0"),
        ("echo 'RuntimeError: MPSInfo:save_data on /x/KET failed.' >&2; exit 1", DiskFullError, "Free some space"),
        ("kill -ABRT $$", ExecutionError, "memory_GB"),
        ("kill -SEGV $$", ExecutionError, "memory_GB"),
        ("exit 4", MissingDependencyError, "pip install block2"),
    ],
)
def test_a_failure_of_the_process_is_one_clear_error(tmp_path, text, error, said):
    with pytest.raises(error, match=said):
        dmrg_state(natural_orbitals(one_orbital(3)), (8,), python=stands_in(tmp_path, text))


def test_without_block2_the_error_says_how_to_get_it():
    basis = natural_orbitals(one_orbital(3))
    with pytest.raises(MissingDependencyError, match="pip install block2"):
        dmrg_state(basis, (8,), python=sys.executable)
    with pytest.raises(MissingDependencyError, match="cannot start /no/such/python"):
        dmrg_state(basis, (8,), python="/no/such/python")


def test_worker_and_scratch_end_with_the_process_that_started_it(tmp_path):
    """Also while it never lets go of the interpreter, as block2 does in a sweep."""
    package = tmp_path / "pyblock2" / "driver"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").touch()
    (package / "core.py").write_text("print('begun', flush=True)\nsum(range(10**13))\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    np.savez(scratch / "in.npz", one_body=np.zeros((2, 2)), two_body=np.zeros(0), settings='{"kind": "su2"}')
    worker = subprocess.Popen(
        [sys.executable, dmrg_worker.__file__, str(scratch / "in.npz"), str(scratch / "out.npz")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert worker.stdout.readline() == "begun\n"
    assert worker.poll() is None
    worker.stdin.close()
    assert worker.wait(timeout=20) == -signal.SIGKILL
    worker.stdout.close()
    for _ in range(200):
        if not scratch.exists():
            break
        time.sleep(0.05)
    assert not scratch.exists()
