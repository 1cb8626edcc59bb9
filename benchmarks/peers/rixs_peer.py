"""Scattering at an L edge of an impurity with one ligand shell by edrixs, in the peers' environment.

rixs_peer.py PARAMETERS.json OUTPUT.json
"""

import json
import sys
import time
from pathlib import Path

import edrixs
import numpy as np

given = json.loads(Path(sys.argv[1]).read_text())
n, u, u_core, delta = given["electrons"], given["u"], given["u_core"], given["delta"]
f2, f4, f2p, g1, g3 = (given[k] for k in ("F2_dd", "F4_dd", "F2_pd", "G1_pd", "G3_pd"))
incident, losses = np.array(given["incident"]), np.array(given["losses"])
angles, channels = given["angles"], [tuple(c) for c in given["channels"]]


def spectrum():
    """Levels, intensity by incident energy, loss and channel, CPU seconds."""
    began = time.process_time()
    f0 = u + edrixs.get_F0("d", f2, f4)
    f0p = u_core + edrixs.get_F0("dp", g1, g3)
    e_d, e_l = edrixs.CT_imp_bath(u, delta, n)
    e_dc, e_lc, e_p = edrixs.CT_imp_bath_core_hole(u, u_core, delta, n)
    slater = ([f0, f2, f4], [f0, f2, f4, f0p, f2p, g1, g3])
    # real d harmonics of edrixs: z2, xz, yz, x2-y2, xy
    field = np.kron(np.diag([0.6, -0.4, -0.4, 0.6, -0.4]), np.eye(2))
    turn = edrixs.tmat_c2r("d", True)
    spin_orbit = edrixs.cb_op(edrixs.atom_hsoc("d", given["zeta_d"]), turn)
    matrix, matrix_n = (given["ten_dq"] * field + spin_orbit + e * np.eye(10) for e in (e_d, e_dc))
    bath, bath_n = (np.diag(given["ten_dq_ligand"] * field + e * np.eye(10)).real.reshape(1, 10) for e in (e_l, e_lc))
    eg, t2g = given["v_eg"], given["v_t2g"]
    hopping = np.repeat([eg, t2g, t2g, eg, t2g], 2).reshape(1, 10)
    parts = edrixs.model_siam(
        ("d", "p"),
        1,
        v_noccu=given["n_electrons"],
        c_level=e_p,
        c_soc=given["zeta_p"],
        trans_c2n=turn,
        imp_mat=matrix,
        imp_mat_n=matrix_n,
        bath_level=bath,
        bath_level_n=bath_n,
        hyb=hopping,
        slater=slater,
        ext_B=np.array(given["field"]),
    )
    # the initial state has the six core levels, too, but no energy of theirs with the d shell: photon energies shift
    operators = edrixs.solvers.get_ops(*parts[:7], backend=given["backend"])
    values, vectors = edrixs.ed(operators[0], given["states"], shift=parts[7])
    found = edrixs.rixs(
        values,
        vectors,
        operators[0],
        operators[1],
        operators[2],
        incident - 6 * e_p,
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
