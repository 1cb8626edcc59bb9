import numpy as np
from ase.build import bulk

from limbeck.workflows.forge.config import ForgeSettings
from limbeck.workflows.forge.context import Forge, physical_frames
from limbeck.workflows.forge.frames import write_frames

CELL = {"kind": "bulk", "formula": "Cu", "lattice": "fcc", "lattice_constant_A": 3.6}


def test_each_composition_has_its_own_reference_of_volume(tmp_path):
    settings = ForgeSettings.model_validate({"name": "x", "structures": [CELL], "labels": {"kind": "emt"}})
    forge = Forge(settings, tmp_path, None, None, None, None)
    copper, salt = bulk("Cu", "fcc", a=3.6), bulk("NaCl", "rocksalt", a=5.64)
    write_frames(tmp_path / "stages" / "10-structures" / "crystals.json", [copper, salt])
    swollen = bulk("NaCl", "rocksalt", a=5.64 * 1.25)
    broken = copper.copy()
    broken.positions[0, 0] = np.nan
    kept, rejected = physical_frames(forge, [copper, salt.repeat(2), swollen, broken])
    assert [len(frame) for frame in kept] == [1, 16]  # NaCl has twice copper's volume an atom
    assert dict(rejected) == {"volume": 1, "not finite": 1}
