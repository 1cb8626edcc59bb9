"""Ions of oxides, for tests of core levels."""

import numpy as np

from limbeck.impurity.core_level import ChargeTransfer, core_model, core_monopole, cubic, monopole

SHELL, DIRECT, EXCHANGE = {2: 9.787, 4: 6.078}, {2: 6.177}, {1: 4.630, 3: 2.633}


def ligand_model(electrons, delta=4.7, u=7.3, u_core=8.5, *, field=(0.0, 0.0, 0.0), ten_dq=0.56, edge=0.0):
    """A d shell with one ligand shell, parameters of NiO (M. W. Haverkort et al., arXiv:1111.4940) where left out."""
    levels = ChargeTransfer(electrons, delta, u, u_core, edge)
    model = core_model(
        levels.valence * np.eye(5) + cubic(0.6 * ten_dq, -0.4 * ten_dq),
        levels.core,
        [levels.ligand * np.eye(5) + cubic(0.6 * 1.44, -0.4 * 1.44)],
        [cubic(2.06, 1.21)],
        {0: monopole(SHELL, u), **SHELL},
        {0: core_monopole(EXCHANGE, u_core), **DIRECT},
        EXCHANGE,
        electrons + 10,
        valence_spin_orbit=0.083,
        core_spin_orbit=11.507,
        field=field,
    )
    return model, levels
