"""L edge of an impurity with one ligand shell by edrixs: run by impurity_absorption.py in the peers' environment.

absorption_peer.py PARAMETERS.json OUTPUT.json
"""

import json
import sys
import time
from pathlib import Path

import edrixs
import numpy as np
from edrixs_ion import solved

given = json.loads(Path(sys.argv[1]).read_text())
energies = np.array(given["energies"])


def spectrum():
    """Levels, isotropic spectrum, CPU seconds."""
    began = time.process_time()
    values, vectors, operators, shift = solved(given)
    found = edrixs.xas(
        values,
        vectors,
        operators[1],
        operators[2],
        energies - shift,
        gamma_c=given["half_width"],
        temperature=given["temperature_K"],
        pol_type=[("isotropic", 0)],
        backend_kws={"nkryl": given["krylov"]} if given["krylov"] else None,
    )
    return np.asarray(values).tolist(), np.asarray(found)[:, 0].tolist(), time.process_time() - began


results = [spectrum() for _ in range(given["repeats"])]
found = {"levels": results[0][0], "spectrum": results[0][1], "cpu_s": [r[2] for r in results]}
Path(sys.argv[2]).write_text(json.dumps(found))
