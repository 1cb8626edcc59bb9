from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from limbeck.core.errors import StructureError
from limbeck.labels.environments import EnvironmentSettings, environments
from limbeck.labels.selection import (
    CoverageSelection,
    EntropySelection,
    FarthestPoint,
    RandomSelection,
    bandwidths,
    novelty,
    select,
)

ENTROPY = EntropySelection()
EVERY = [ENTROPY, FarthestPoint()]
COVERAGE = CoverageSelection()


def rng(seed=0):
    return np.random.default_rng(seed)


def rattled(seed, scale=0.05, repeat=1, symbol="Si"):
    atoms = bulk(symbol, cubic=True) * repeat
    atoms.rattle(scale, seed=seed)
    return atoms


def rock_salt(seed, swap=(), scale=0.03):
    atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True) * (2, 1, 1)
    cations = [i for i, symbol in enumerate(atoms.symbols) if symbol == "Mg"]
    for position in swap:
        atoms.symbols[cations[position]] = "Ca"
    atoms.rattle(scale, seed=seed)
    return atoms


@settings(max_examples=8, derandomize=True, deadline=None)
@given(seed=st.integers(0, 1000))
def test_descriptor_is_invariant_to_rotation_translation_order_and_cell(seed):
    atoms = rock_salt(seed, scale=0.1)
    generator = rng(seed)
    base = environments([atoms], [8, 12], EnvironmentSettings()).values
    moved = atoms.copy()
    moved.positions += generator.uniform(-9, 9, 3)
    moved.wrap()
    rotation = Rotation.random(random_state=seed).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)
    order = generator.permutation(len(atoms))
    skewed = atoms.copy()
    skewed.set_cell(atoms.cell.array + np.array([[0, 0, 0], [1, 0, 0], [0, -2, 0]]) @ atoms.cell.array)
    for other in (moved, turned, skewed):
        np.testing.assert_allclose(environments([other], [8, 12], EnvironmentSettings()).values, base, atol=1e-6)
    shuffled = environments([atoms[order]], [8, 12], EnvironmentSettings()).values
    np.testing.assert_allclose(shuffled, base[order], atol=1e-9)


def test_descriptor_is_smooth_at_the_cutoff():
    settings = EnvironmentSettings(cutoff_A=4.0)
    values = []
    for distance in (3.9999, 4.0001):
        dimer = Atoms("Si2", positions=[[0, 0, 0], [distance, 0, 0]])
        values.append(environments([dimer], [14], settings).values)
    np.testing.assert_allclose(values[0], values[1], atol=1e-6)


def test_descriptor_of_a_lone_atom_is_zero():
    found = environments([Atoms("Si")], [14], EnvironmentSettings())
    assert found.values.shape == (1, 48)
    assert not found.values.any()


def test_novelty_is_the_formula():
    """dH = -log sum exp(-d^2 / 2 h^2), by brute force."""
    frames, reference = [rattled(1, 0.1)], [rattled(2, 0.1), rattled(3, 0.2)]
    pool, known = (environments(f, [14], ENTROPY.environment) for f in (frames, reference))
    h = bandwidths(pool, known)[14]
    squares = ((pool.values[:, None] - known.values[None]) ** 2).sum(-1)
    expected = -np.log(np.exp(-squares / (2 * h**2)).sum(axis=1))
    np.testing.assert_allclose(novelty(frames, reference, ENTROPY)[0], expected, rtol=1e-6, atol=1e-6)


def test_known_frame_is_no_news():
    frame = rattled(0)
    assert max(novelty([frame], [frame, rattled(1)], ENTROPY)[0]) <= 1e-9


@pytest.mark.parametrize("how", [*EVERY, COVERAGE])
def test_duplicates_never_enter(how):
    distinct = [rattled(seed, 0.1) for seed in range(4)]
    turned = distinct[1].copy()
    turned.set_cell(turned.cell.array[[1, 2, 0]], scale_atoms=False)
    pool = [distinct[0], distinct[1], distinct[1].copy(), distinct[2], distinct[3], distinct[0].copy(), turned]
    chosen = select(pool, [distinct[0]], 6, how, rng())
    assert len(chosen.indices) == 3
    assert {1, 2, 6} & set(chosen.indices)
    assert len({1, 2, 6} & set(chosen.indices)) == 1
    assert {3, 4} <= set(chosen.indices)
    assert "less than minimum_gain" in chosen.stopped_because


@pytest.mark.parametrize("how", [*EVERY, COVERAGE])
def test_pool_of_copies_gives_one(how):
    chosen = select([rattled(0)] * 5, [], 3, how, rng())
    assert len(chosen.indices) == 1
    assert "4 frames left" in chosen.stopped_because
    assert select([rattled(0)] * 5, [rattled(0)], 3, how, rng()).indices == ()


@pytest.mark.parametrize("how", EVERY)
def test_swapped_cations_are_news(how):
    """The trap of an element-blind descriptor: the same sites with other elements on them."""
    reference = [rock_salt(seed, swap=(0, 1)) for seed in range(3)]
    same = [rock_salt(seed + 10, swap=(0, 1)) for seed in range(6)]
    other = rock_salt(10, swap=(0, 3))
    chosen = select([*same, other], reference, 1, how, rng())
    assert chosen.indices == (6,)
    blind = [atoms.copy() for atoms in (*same, other)]
    for atoms in (*blind, *reference):
        atoms.symbols[[i for i, s in enumerate(atoms.symbols) if s != "O"]] = "Mg"
    assert max(select(blind, reference, 1, how, rng()).gains, default=0.0) < chosen.gains[0] / 3


@pytest.mark.parametrize("how", EVERY)
def test_new_element_comes_first(how):
    pool = [rattled(1), rattled(2, 0.3), rattled(3, symbol="Ge")]
    assert select(pool, [rattled(0)], 1, how, rng()).indices == (2,)


@pytest.mark.parametrize("how", EVERY)
def test_large_cells_do_not_always_win(how):
    """Small and large cells from one distribution share the picks; one strongly distorted small cell comes first."""
    reference = [rattled(seed, 0.05) for seed in (100, 101)]
    small = [rattled(seed, 0.05) for seed in range(12)]
    large = [rattled(seed + 50, 0.05, repeat=2) for seed in range(12)]
    distorted = rattled(7, 0.3)
    assert select([*large, distorted], reference, 1, how, rng()).indices == (12,)
    picks = select([*small, *large], reference, 8, how, rng()).indices
    share = np.mean([index >= 12 for index in picks])
    assert 0.1 <= share <= 0.9


def test_local_novelty_in_a_large_cell_is_seen():
    """One vacancy among 64 atoms must beat a cell that is merely rattled a little more."""
    reference = [rattled(seed, 0.03, repeat=2) for seed in range(3)]
    ordinary = [rattled(seed + 10, 0.035, repeat=2) for seed in range(5)]
    vacancy = rattled(20, 0.03, repeat=2)
    del vacancy[11]
    assert select([*ordinary, vacancy], reference, 1, ENTROPY, rng()).indices == (5,)


def test_gains_fall_and_count_is_exact():
    pool = [rattled(seed, 0.02 + 0.02 * (seed % 5)) for seed in range(25)]
    chosen = select(pool, [], 10, ENTROPY, rng())
    assert len(chosen.indices) == len(set(chosen.indices)) == 10
    assert chosen.gains[0] == np.inf
    assert all(b <= a * (1 + 1e-9) for a, b in zip(chosen.gains, chosen.gains[1:], strict=False))
    assert "10 frames asked for" in chosen.stopped_because


@pytest.mark.parametrize("how", [*EVERY, RandomSelection()])
def test_seed_decides_and_repeats(how):
    pool = [rattled(seed, 0.1) for seed in range(12)]
    runs = [select(pool, [], 4, how, rng(seed)).indices for seed in (0, 0, 1, 2, 3)]
    assert runs[0] == runs[1]
    assert len(set(runs)) > 2


@pytest.mark.parametrize("how", [*EVERY, COVERAGE, RandomSelection()])
def test_asking_for_too_many_or_none(how):
    pool = [rattled(seed, 0.1) for seed in range(3)]
    chosen = select(pool, [], 9, how, rng())
    assert sorted(chosen.indices) == [0, 1, 2]
    assert "all 3 candidates" in chosen.stopped_because
    assert select(pool, [], 0, how, rng()).indices == ()
    assert select([], pool, 2, how, rng()).indices == ()


def test_input_is_not_changed():
    pool = [rattled(seed) for seed in range(3)]
    before = [atoms.copy() for atoms in pool]
    select(pool, [rattled(9)], 2, ENTROPY, rng())
    assert pool == before


def test_nan_is_refused():
    bad = rattled(0)
    bad.positions[0, 0] = np.nan
    with pytest.raises(StructureError, match=r"candidate 1 .* NaN"):
        select([rattled(1), bad], [], 1, ENTROPY, rng())


@pytest.mark.parametrize("how", EVERY)
def test_beats_random_in_coverage(how):
    """A pool of many frames around one basin and few in three others: a trajectory that visits them rarely.

    Coverage is the part of environments that the selection holds (novelty at most 0 at a common bandwidth), averaged
    over basins. Random selection over ten seeds is the null.
    """
    scales = (1.0, 0.93, 1.07, 1.13)
    pool, basin = [], []
    for number, (scale, count) in enumerate(zip(scales, (40, 3, 3, 3), strict=True)):
        for seed in range(count):
            atoms = rattled(1000 * number + seed, 0.05)
            atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
            pool.append(atoms)
            basin.append(number)

    def coverage(indices):
        parts = novelty(pool, [pool[i] for i in indices], EntropySelection(bandwidth_scale=2.0))
        known = np.array([np.mean(part <= 0) for part in parts])
        return np.mean([known[np.array(basin) == number].mean() for number in range(4)])

    mine = coverage(select(pool, [], 8, how, rng()).indices)
    null = [coverage(select(pool, [], 8, RandomSelection(), rng(seed)).indices) for seed in range(10)]
    assert mine > np.mean(null) + 2 * np.std(null) / np.sqrt(10)
    assert mine > np.median(null) * 1.2


def test_coverage_takes_the_common_before_the_strange_and_entropy_the_strange():
    pool = [*(rattled(seed, 0.05) for seed in range(20)), rattled(99, 0.4)]
    assert select(pool, [rattled(200)], 1, ENTROPY, rng()).indices == (20,)
    assert 20 not in select(pool, [], 3, COVERAGE, rng()).indices
    assert 20 in select(pool, [], 21, COVERAGE, rng()).indices


def test_coverage_is_near_the_best_of_all_choices():
    """Three of nine frames: the greedy choice reaches 1 - 1/e of the best by the theorem, here more."""
    pool = [rattled(seed, 0.04 + 0.03 * (seed % 3)) for seed in range(9)]
    described = environments(pool, [14], EnvironmentSettings())
    (bandwidth,) = bandwidths(described, environments([], [14], EnvironmentSettings())).values()
    distances = np.linalg.norm(described.values[:, None] - described.values[None], axis=2)
    kernel = np.exp(-(distances**2) / (2 * bandwidth**2))

    def covered(indices):
        return kernel[:, np.isin(described.frame_index, indices)].max(axis=1).mean()

    best = max(covered(choice) for choice in combinations(range(9), 3))
    chosen = select(pool, [], 3, COVERAGE, rng())
    assert covered(chosen.indices) > 0.95 * best
    assert sum(chosen.gains) * 8 / 72 == pytest.approx(covered(chosen.indices), rel=1e-6)


def test_coverage_does_not_always_take_large_cells():
    small = [rattled(seed, 0.05) for seed in range(12)]
    large = [rattled(seed + 50, 0.05, repeat=2) for seed in range(12)]
    picks = select([*small, *large], [], 8, COVERAGE, rng()).indices
    assert any(index < 12 for index in picks)
