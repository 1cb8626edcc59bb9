"""From settings of an ion to its model and its multiplets."""

from dataclasses import dataclass

import numpy as np

from limbeck.core.errors import ConfigError
from limbeck.core.progress import Reporter
from limbeck.impurity.core_level import ChargeTransfer, core_model, core_monopole, cubic, monopole
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.multiplets import Multiplets, multiplets, selected_multiplets
from limbeck.impurity.shells import chained, ionic
from limbeck.impurity.subspace import sector_size
from limbeck.workflows.impurity.core_config import ConductionSettings, CoreLevelSettings, LigandSettings

COLLAPSED = 0.95
"""Weight of a full d shell above which there is nothing to excite into."""


@dataclass(frozen=True)
class Ion:
    """A model with what it was made of.

    Attributes:
        model: Valence, core, full shells, empty shells.
        levels: Average energies of its configurations.
        reference: Electrons in each shell of d^n.
    """

    model: ImpurityModel
    levels: ChargeTransfer
    reference: tuple[int, ...]


def ion_of(settings: CoreLevelSettings) -> Ion:
    """The model that the settings describe."""
    d, core, n, factor = settings.shell, settings.core, settings.shell.electrons, settings.slater_factor
    shell = {2: factor * d.F2_eV, 4: factor * d.F4_eV}
    exchange = {1: factor * core.G1_eV, 3: factor * core.G3_eV}
    levels = ChargeTransfer(n, settings.delta_eV, d.U_eV, core.U_eV, core.edge_eV)
    baths = [
        (levels.ligand + x.level_eV) * np.eye(5) + cubic(0.6 * x.ten_Dq_eV, -0.4 * x.ten_Dq_eV)
        for x in settings.ligands
    ]
    removed = levels.energy(n - 1)  # of a d electron; what a conduction electron brings makes the energy that is given
    baths += [
        (x.energy_eV - removed) * np.eye(5) + cubic(0.6 * x.ten_Dq_eV, -0.4 * x.ten_Dq_eV) for x in settings.conduction
    ]
    outer: list[LigandSettings | ConductionSettings] = [*settings.ligands, *settings.conduction]
    model = core_model(
        levels.valence * np.eye(5) + cubic(0.6 * d.ten_Dq_eV, -0.4 * d.ten_Dq_eV),
        levels.core,
        baths,
        [cubic(x.V_eg_eV, x.V_t2g_eV) for x in outer],
        {0: monopole(shell, d.U_eV), **shell},
        {0: core_monopole(exchange, core.U_eV), 2: factor * core.F2_eV},
        exchange,
        n + 10 * len(settings.ligands),
        valence_spin_orbit=d.spin_orbit_eV,
        core_spin_orbit=core.spin_orbit_eV,
        field=(d.field_eV[0], d.field_eV[1], d.field_eV[2]),
    )
    if n == 10 and not settings.conduction:
        raise ConfigError("shell.electrons is 10: the d shell is full (d10), nothing can be excited into it")
    return Ion(model, levels, ionic(model, n))


def multiplets_of(ion: Ion, settings: CoreLevelSettings, say: Reporter) -> Multiplets:
    """Initial states: on the whole sector where it is small enough, else on chosen classes in chains.

    Raises:
        ConfigError: If the ground state has collapsed to a full d shell.
    """
    wanted, size = settings.configurations, sector_size(ion.model)
    if size <= wanted.whole:
        say.message(f"{size} configurations of the initial states, all taken")
        states = multiplets(ion.model, settings.temperature_K, wanted.whole)
    else:
        say.message(f"{size:.3g} configurations of the initial states, at most {wanted.ground} taken")
        model = chained(ion.model, settings.shell.electrons)
        with say.bar("configurations", float(wanted.ground), "") as bar:
            states = selected_multiplets(
                model, settings.temperature_K, ion.reference, wanted.ground, tell=lambda n: bar.set(float(n))
            )
    full = states.shells.counts(states.rows)[:, 0] == 10
    weight = float(np.sum(np.abs(states.vectors[full, 0]) ** 2))
    if weight > COLLAPSED:
        raise ConfigError(
            f"the ground state has a full d shell (d10) in {100 * weight:.1f} % of its weight: delta_eV "
            f"{settings.delta_eV:g} is too low for shell.electrons {settings.shell.electrons}, or U_eV too small"
        )
    return states
