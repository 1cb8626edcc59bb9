"""An ion with one ligand shell in edrixs, for the scripts beside this one."""

import edrixs
import numpy as np


def solved(given: dict) -> tuple:
    """Levels, states, operators, and what the core shifts photon energies by."""
    n, u, u_core, delta = given["electrons"], given["u"], given["u_core"], given["delta"]
    f2, f4, f2p, g1, g3 = (given[k] for k in ("F2_dd", "F4_dd", "F2_pd", "G1_pd", "G3_pd"))
    f0 = u + edrixs.get_F0("d", f2, f4)
    f0p = u_core + edrixs.get_F0("dp", g1, g3)
    e_d, e_l = edrixs.CT_imp_bath(u, delta, n)
    e_dc, e_lc, e_p = edrixs.CT_imp_bath_core_hole(u, u_core, delta, n)
    f2_hole, f4_hole = given.get("F2_dd_hole", f2), given.get("F4_dd_hole", f4)
    f0_hole = u + edrixs.get_F0("d", f2_hole, f4_hole)
    slater = ([f0, f2, f4], [f0_hole, f2_hole, f4_hole, f0p, f2p, g1, g3])
    # real d harmonics of edrixs: z2, xz, yz, x2-y2, xy
    field = np.kron(np.diag([0.6, -0.4, -0.4, 0.6, -0.4]), np.eye(2))
    turn = edrixs.tmat_c2r("d", True)
    zeta = given["zeta_d"]
    matrix, matrix_n = (
        given["ten_dq"] * field + edrixs.cb_op(edrixs.atom_hsoc("d", z), turn) + e * np.eye(10)
        for z, e in ((zeta, e_d), (given.get("zeta_d_hole", zeta), e_dc))
    )
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
    return values, vectors, operators, 6 * e_p
