"""Conductivity in SI against a hand calculation; Haven ratios whose truth is known."""

import numpy as np
import pytest
from ase import Atoms

from limbeck.core.errors import StructureError
from limbeck.core.rng import stream
from limbeck.observables.diffusion.paths import Paths, read_paths
from limbeck.observables.diffusion.transport import transport
from limbeck.observables.diffusion.walkers import MemoryWalkers
from limbeck.structures.trajectory import MemoryTrajectory

ELEMENTARY_CHARGE, BOLTZMANN = 1.602176634e-19, 1.380649e-23


def paths_of(positions: np.ndarray, species: tuple[str, ...], interval_fs: float = 20.0) -> Paths:
    return Paths(MemoryWalkers(positions), interval_fs, species, "none", 1000.0, 0.1, ())


def walks(rng: np.random.Generator, n: int, particles: int) -> np.ndarray:
    return np.concatenate([np.zeros((1, particles, 3)), np.cumsum(rng.normal(size=(n, particles, 3)), axis=0)])


def test_conductivity_is_that_of_the_definition_in_si() -> None:
    found = transport(paths_of(walks(stream(1, "si"), 4000, 12), ("Li",) * 12), 600.0, {"Li": 1.0})
    d_si = 0.5 * 1e-20 / 20e-15  # unit steps in Å every 20 fs, one axis
    exact = 12 * ELEMENTARY_CHARGE**2 * d_si / (1000e-30 * BOLTZMANN * 600.0)  # S/m
    low, high = found.conductivity_interval(0.997)
    assert low < 10 * exact < high
    assert found.nernst_einstein.value == pytest.approx(10 * exact, rel=0.05)
    assert found.conductivity.unit == "mS/cm"


@pytest.mark.parametrize("kind", ["independent", "pairs", "as one"])
def test_haven_ratio_holds_the_truth_at_its_rate(kind: str) -> None:
    """300 replicas of 12 ions: bounds three binomial standard errors wide. Truth 1, 1/2 (rigid pairs) and 1/12."""
    rng, replicas, inside = stream(2, "haven", kind), 300, np.zeros(2)
    truth = {"independent": 1.0, "pairs": 0.5, "as one": 1 / 12}[kind]
    for _ in range(replicas):
        n_free = round(12 * truth)
        positions = np.repeat(walks(rng, 200, n_free), 12 // n_free, axis=1)
        found = transport(paths_of(positions, ("Li",) * 12), 600.0, {"Li": 1.0})
        for k, level in enumerate((0.6827, 0.95)):
            low, high = found.haven_interval(level)
            inside[k] += low <= truth <= high
    assert inside[0] / replicas > 0.6827 - 0.08
    assert inside[1] / replicas > 0.95 - 0.04
    if kind == "independent":  # errors of both parts go together in the other cases, so intervals are too wide there
        assert inside[0] / replicas < 0.6827 + 0.08
        assert inside[1] / replicas < 1.0


def test_ions_of_opposite_charge_that_move_together_carry_no_current() -> None:
    rng = stream(3, "pairs")
    positions = np.repeat(walks(rng, 3000, 5), 2, axis=1) + 1e-3 * rng.normal(size=(3001, 10, 3))
    salt = transport(paths_of(positions, ("Li", "F") * 5), 1000.0, {"Li": 1.0, "F": -1.0})
    assert abs(salt.conductivity.value) < 1e-6 * salt.nernst_einstein.value
    assert set(salt.tracer) == {"F", "Li"}


def test_what_is_missing_is_one_clear_error() -> None:
    paths = paths_of(walks(stream(4, "bad"), 50, 2), ("Li", "F"))
    with pytest.raises(StructureError, match="charges of F, for example Li=1"):
        transport(paths, 600.0, {"Li": 1.0})
    with pytest.raises(StructureError, match="charges of F, Li"):
        transport(paths, 600.0, {"Li": 0.0, "F": 0.0})
    with pytest.raises(ValueError, match="positive, got 0"):
        transport(paths, 0.0, {"Li": 1.0, "F": -1.0})
    alike = walks(stream(5, "alike"), 100, 4)
    alike -= alike.mean(axis=1, keepdims=True)
    with pytest.raises(StructureError, match="charge does not move"):
        transport(paths_of(alike, ("Li",) * 4), 600.0, {"Li": 1.0})
    flat = Paths(paths.walkers, 20.0, paths.species, "none", float("nan"), 0.0, ())
    with pytest.raises(StructureError, match="no volume"):
        transport(flat, 600.0, {"Li": 1.0, "F": -1.0})


def test_conductivity_does_not_depend_on_the_frame_of_reference() -> None:
    """Lithium in a host that recoils: relative to all atoms the host's own current is a part of it."""
    rng, n = stream(8, "frames"), 1500
    ions = np.cumsum(rng.normal(size=(n, 6, 3)), axis=0)
    masses = np.array([6.94] * 6 + [32.06] * 2)
    host = -(ions.sum(axis=1, keepdims=True) * 6.94) / (2 * 32.06)
    positions = np.concatenate([ions, np.repeat(host, 2, axis=1)], axis=1)
    np.testing.assert_allclose(np.einsum("a,fax->fx", masses, positions), 0.0, atol=1e-9)
    frames = [Atoms("Li6S2", p, cell=[50, 50, 50], pbc=True) for p in positions % 50]
    values = [
        transport(read_paths(MemoryTrajectory(frames, 20.0), ["Li"], frame), 600.0, {"Li": 1.0}).conductivity.value
        for frame in ("host", "total", "none")
    ]
    np.testing.assert_allclose(values, values[0], rtol=1e-3)  # masses of the table have a few more digits


def test_hops_of_few_ions_are_in_the_error_of_the_conductivity() -> None:
    """Forty hops in the whole run, whatever the number of frames: at least 16 % of error; 95 % intervals hold."""
    rng, inside = stream(9, "hops"), 0
    for _ in range(60):
        hops = rng.random((2000, 20)) < 1e-3
        steps = 2.5 * hops[:, :, None] * np.eye(3)[rng.integers(0, 3, (2000, 20))] * rng.choice([-1, 1], (2000, 20, 1))
        paths = np.cumsum(steps, axis=0) + 0.1 * rng.normal(size=(2000, 20, 3))
        found = transport(paths_of(paths, ("Li",) * 20), 600.0, {"Li": 1.0})
        truth = found.nernst_einstein.value / found.tracer["Li"].coefficient.value * 1e-3 * 2.5**2 / 6 / 20.0 * 0.1
        assert found.conductivity.standard_error > 0.12 * found.conductivity.value
        low, high = found.conductivity_interval(0.95)
        inside += low <= truth <= high
    assert inside >= 53
