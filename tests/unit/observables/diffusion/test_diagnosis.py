"""What is behind a coefficient: counted hops, odd blocks, halves, shapes of the displacements."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from limbeck.core.rng import stream
from limbeck.observables.diffusion.blocks import jackknife
from limbeck.observables.diffusion.diagnosis import diagnose, odd_block
from limbeck.observables.diffusion.hops import count_hops
from limbeck.observables.diffusion.tracer import CM2_PER_S, diffusion


def hopping(rng: np.random.Generator, n: int, ions: int, rate: float, length: float = 2.5) -> tuple[np.ndarray, int]:
    """Ions that hop along an axis at a rate per frame, vibrating; and the number of hops."""
    hops = rng.random((n, ions)) < rate
    direction = np.eye(3)[rng.integers(0, 3, (n, ions))] * rng.choice([-1.0, 1.0], (n, ions, 1))
    paths = np.cumsum(length * hops[:, :, None] * direction, axis=0)
    return np.concatenate([np.zeros((1, ions, 3)), paths]) + 0.1 * rng.normal(size=(n + 1, ions, 3)), int(hops.sum())


def test_hops_are_counted() -> None:
    places = np.zeros((6, 2, 3))
    places[2:, 0, 0], places[4:, 0, 1] = 2.5, 2.5
    places[:, 1, 2] = [0, 1.9, 0, -1.9, 0, 1.9]
    assert count_hops(places, 2.0).tolist() == [2, 0]
    paths, hops = hopping(stream(1, "hops"), 2000, 20, 0.004)
    found = diagnose(diffusion(paths, 10.0))
    assert found.hops == pytest.approx(hops, rel=0.05)
    assert found.moved_share == 1.0
    assert found.warnings == ()


def test_few_hops_of_few_ions_are_told_with_the_error_that_they_allow() -> None:
    paths, hops = hopping(stream(2, "few"), 2000, 40, 2e-4)
    found = diagnose(diffusion(paths, 10.0))
    assert found.hops == hops < 30
    assert any(f"cannot be below {100 / np.sqrt(hops):.0f} %" in w for w in found.warnings)
    assert found.non_gaussian[np.searchsorted(found.times_fs, 1000.0)] > 3


def test_a_gas_of_walkers_is_normal_with_a_slope_of_one() -> None:
    walks = np.cumsum(stream(3, "normal").normal(size=(4000, 30, 3)), axis=0)
    found = diagnose(diffusion(walks, 1.0))
    assert np.abs(found.non_gaussian[:10]).max() < 0.05
    assert found.exponent == pytest.approx(1.0, abs=0.05)
    assert abs(found.halves) < 3.3
    assert (found.odd_block_of_time, found.odd_block_of_particles) == (None, None)


def test_a_run_that_speeds_up_differs_in_its_halves() -> None:
    steps = stream(4, "halves").normal(size=(4000, 30, 3))
    steps[2000:] *= 1.5
    found = diagnose(diffusion(np.cumsum(steps, axis=0), 1.0))
    assert found.halves > 3.3
    assert any("halves" in w for w in found.warnings)


def test_the_odd_block_is_named_and_ordinary_blocks_are_not() -> None:
    rng = stream(5, "odd")
    flagged = sum(odd_block(jackknife(rng.normal(size=12))) is not None for _ in range(2000))
    assert flagged < 12  # 2 expected at one in a thousand
    values = rng.normal(size=12)
    values[7] = 9.0
    assert odd_block(jackknife(values)) == 7
    assert odd_block(jackknife(np.ones(12))) is None
    assert odd_block(None) is None


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    """The benchmark that makes walks with heavy-tailed waits."""
    path = Path(__file__).parents[4] / "benchmarks" / "diffusion_calibration.py"
    spec = importlib.util.spec_from_file_location("diffusion_calibration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("exponent", [1.4, 3.5])
def test_rare_events_are_covered_and_told_of(exponent: float, calibration: ModuleType) -> None:
    """Sixty runs: the 95 % interval holds the ensemble truth nine times in ten, and the rare event is told of."""
    rng, inside, told, rate = stream(6, "rare", str(exponent)), 0, 0, 0.02
    truth = rate * (1 + 9 / 20) * 2.5**2 / 6 * CM2_PER_S
    for _ in range(60):
        found = diffusion(calibration.heavy_tailed(rng, 2000, 32, exponent, rate), 1.0)
        low, high = found.interval(0.95)
        inside += low <= truth <= high
        told += any("rare event" in w for w in (*found.warnings, *diagnose(found).warnings))
    assert inside >= 54
    assert told >= 54
