"""Ground state of an impurity by block2 (SU(2) DMRG): run by impurity_ground.py in the peers' environment.

ground_peer.py MODEL.json OUTPUT.json
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pyblock2.driver.core import DMRGDriver, SymmetryTypes

given = json.loads(Path(sys.argv[1]).read_text())
h, place = np.array(given["one_body"]), given["impurity_site"]
n = len(h)
g = np.zeros((n, n, n, n))
g[place, place, place, place] = given["u"]
found = []
for bond in given["bonds"]:
    with tempfile.TemporaryDirectory() as folder:
        driver = DMRGDriver(scratch=folder, symm_type=SymmetryTypes.SU2, n_threads=1)
        driver.initialize_system(n_sites=n, n_elec=given["electrons"], spin=0)
        mpo = driver.get_qc_mpo(h1e=h, g2e=g, ecore=0, iprint=0)
        began = time.process_time()
        ket = driver.get_random_mps(tag="KET", bond_dim=bond, nroots=1)
        sweeps = given["sweeps"]
        noises = [1e-4] * (sweeps // 3) + [1e-6] * (sweeps // 3) + [0] * sweeps
        energies = []
        for k in range(sweeps):  # one sweep at a time: the first that is good enough counts
            value = driver.dmrg(
                mpo, ket, n_sweeps=1, bond_dims=[bond], noises=[noises[k]], thrds=[1e-10], iprint=0, tol=0
            )
            energies.append((float(value), time.process_time() - began))
    found.append({"bond": bond, "energies": energies})
Path(sys.argv[2]).write_text(json.dumps(found))
