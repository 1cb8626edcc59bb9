"""Input of LAMMPS: supercells, data files, scripts."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limbeck.core.errors import DynamicsError, UnsupportedElementError
from limbeck.dynamics.lammps_script import RunSettings, input_script, repeats_for, supercell
from limbeck.potentials.lammps_calculator import data_file
from limbeck.potentials.protocols import PairStyle
from strategies import cells

PAIR = PairStyle(("pair_style lj/cut 6", "pair_coeff * * 0.01 2.5"), ("Cu", "O"), (), ("newton on",))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(cells(), st.integers(1, 6), st.integers(1, 2000))
def test_supercells_are_large_enough_and_not_a_layer_too_large(cell, n_atoms, least):
    repeats = np.array(repeats_for(cell, n_atoms, least))
    assert n_atoms * np.prod(repeats) >= least
    assert repeats.min() >= 1
    if least > n_atoms:
        assert any(n_atoms * np.prod(repeats - one) < least for one in np.eye(3, dtype=int) if np.all(repeats > one))
    widths = repeats / np.linalg.norm(np.linalg.inv(cell), axis=0)
    grown = repeats > 1
    if grown.any():
        assert widths[grown].max() <= 2.0 * widths.min() + 1e-9


def test_cubic_cell_grows_to_a_cube_and_repeat_overrides():
    atoms = bulk("Cu", a=3.6, cubic=True)
    assert len(supercell(atoms, RunSettings(least_atoms=1000))) == 4 * 7 * 6 * 6
    assert len(supercell(atoms, RunSettings(least_atoms=1000, repeat=[2, 1, 1]))) == 8


def test_types_follow_the_potential_not_the_alphabet():
    atoms = bulk("CuO", "rocksalt", a=4.2)
    masses = {"Cu": 63.546, "O": 15.999}
    text = data_file(atoms, ("O", "Cu"))
    lines = text.splitlines()
    start = lines.index("Masses")
    assert float(lines[start + 2].split()[1]) == pytest.approx(masses["O"], abs=1e-2)
    assert float(lines[start + 3].split()[1]) == pytest.approx(masses["Cu"], abs=1e-2)
    rows = lines[lines.index("Atoms # atomic") + 2 :]
    assert [row.split()[1] for row in rows] == ["2", "1"]


def test_unknown_element_and_flat_cell_are_refused():
    with pytest.raises(UnsupportedElementError, match="holds Ni"):
        data_file(bulk("Ni", a=3.5), ("Cu",))
    with pytest.raises(DynamicsError, match="full cell"):
        data_file(Atoms("Cu", cell=[3, 3, 0]), ("Cu",))


def test_script_is_told_units_and_order():
    atoms = bulk("Cu", a=3.6, cubic=True)
    run = RunSettings(temperature_K=450, pressure_GPa=2, timestep_fs=1.5, barostat="tri", dump_every=20)
    script = input_script(PAIR, atoms, run, seed=7)
    assert "timestep 0.0015" in script
    assert "fix integrate all npt temp 450 450 0.1 tri 20000 20000 1" in script
    assert script.index("newton on") < script.index("read_data") < script.index("pair_style")
    assert script.index("# equilibration") < script.index("reset_timestep 0") < script.index("dump frames")
    assert "velocity all create 450 7" in script


def test_resumed_script_does_not_repeat_what_is_done():
    atoms = bulk("Cu", a=3.6, cubic=True)
    script = input_script(PAIR, atoms, RunSettings(), seed=7, resume=("production", 2000))
    assert "read_restart production.2000.restart" in script
    assert "neighbor 1 bin" in script  # a restart file does not hold the skin
    for word in ("velocity", "read_data", "reset_timestep", "# equilibration"):
        assert word not in script
    early = input_script(PAIR, atoms, RunSettings(), seed=7, resume=("equilibration", 500))
    assert "velocity" not in early
    assert early.index("# equilibration") < early.index("reset_timestep 0") < early.index("# production")


def test_nve_is_equilibrated_in_nvt():
    script = input_script(PAIR, bulk("Cu", a=3.6, cubic=True), RunSettings(ensemble="nve"), seed=1)
    assert script.index("fix integrate all nvt") < script.index("fix integrate all nve")


def test_npt_of_a_slab_is_refused():
    slab = bulk("Cu", a=3.6, cubic=True)
    slab.pbc = (True, True, False)
    with pytest.raises(DynamicsError, match="npt needs periodicity"):
        input_script(PAIR, slab, RunSettings(), seed=1)
    assert "boundary p p s" in input_script(PAIR, slab, RunSettings(ensemble="nvt"), seed=1)


def test_a_table_that_would_be_empty_is_refused():
    with pytest.raises(ValidationError, match="thermo_every"):
        RunSettings(steps=10, thermo_every=20)
