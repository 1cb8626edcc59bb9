"""Scattering at an L edge of an impurity with one ligand shell by edrixs, in the peers' environment.

rixs_peer.py PARAMETERS.json OUTPUT.json
"""

import json
import sys
import time
from pathlib import Path

import edrixs
import numpy as np
from edrixs_ion import solved

given = json.loads(Path(sys.argv[1]).read_text())
incident, losses = np.array(given["incident"]), np.array(given["losses"])
angles, channels = given["angles"], [tuple(c) for c in given["channels"]]


def spectrum():
    """Levels, intensity by incident energy, loss and channel, CPU seconds."""
    began = time.process_time()
    values, vectors, operators, shift = solved(given)
    found = edrixs.rixs(
        values,
        vectors,
        operators[0],
        operators[1],
        operators[2],
        incident - shift,
        losses,
        gamma_c=given["half_width"],
        gamma_f=given["final_half_width"],
        thin=angles[0],
        thout=angles[1],
        phi=0.0,
        pol_type=channels,
        temperature=given["temperature_K"],
        backend_kws=given["settings"] or None,
    )
    return np.asarray(values).tolist(), np.asarray(found).tolist(), time.process_time() - began


results = [spectrum() for _ in range(given["repeats"])]
vectors = [edrixs.dipole_polvec_rixs(*angles, 0.0, a, b, None, (p, q)) for p, a, q, b in channels]
found = {
    "levels": results[0][0],
    "spectrum": results[0][1],
    "cpu_s": [r[2] for r in results],
    "polarizations": [[[[x.real, x.imag] for x in np.asarray(e, complex)] for e in pair] for pair in vectors],
}
Path(sys.argv[2]).write_text(json.dumps(found))
