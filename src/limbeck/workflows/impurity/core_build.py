"""From settings of an ion to its model and its multiplets."""

from dataclasses import dataclass

import numpy as np

from limbeck.core.errors import ConfigError
from limbeck.core.progress import Reporter
from limbeck.impurity.atomic import DShell
from limbeck.impurity.core_level import ChargeTransfer, core_model, core_monopole, cubic, monopole
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.multiplets import Multiplets, multiplets, selected_multiplets
from limbeck.impurity.shells import chained, ionic
from limbeck.impurity.subspace import sector_size
from limbeck.workflows.impurity.core_config import ConductionSettings, CoreLevelSettings, LigandSettings
from limbeck.workflows.impurity.core_parameters import Parameters, parameters_of

COLLAPSED = 0.95
"""Weight of a full d shell above which there is nothing to excite into."""


@dataclass(frozen=True)
class Ion:
    """A model with what it was made of.

    Attributes:
        model: Valence, core, full shells, empty shells.
        with_hole: The same while there is a core hole; ``None`` where nothing differs.
        levels: Average energies of its configurations.
        reference: Electrons in each shell of d^n.
        parameters: Slater integrals and spin-orbit constants.
    """

    model: ImpurityModel
    with_hole: ImpurityModel | None
    levels: ChargeTransfer
    reference: tuple[int, ...]
    parameters: Parameters


def ion_of(settings: CoreLevelSettings) -> Ion:
    """The model that the settings describe."""
    d, core, given = settings.shell, settings.core, parameters_of(settings)
    n = given.electrons
    if n == 10 and not settings.conduction:
        raise ConfigError("shell.electrons is 10: the d shell is full (d10), nothing can be excited into it")
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

    def model(shell: DShell) -> ImpurityModel:
        return core_model(
            levels.valence * np.eye(5) + cubic(0.6 * d.ten_Dq_eV, -0.4 * d.ten_Dq_eV),
            levels.core,
            baths,
            [cubic(x.V_eg_eV, x.V_t2g_eV) for x in outer],
            {0: monopole(shell.integrals, d.U_eV), **shell.integrals},
            {0: core_monopole(given.exchange, core.U_eV), **given.direct},
            given.exchange,
            n + 10 * len(settings.ligands),
            valence_spin_orbit=shell.spin_orbit,
            core_spin_orbit=given.core_spin_orbit,
            field=(d.field_eV[0], d.field_eV[1], d.field_eV[2]),
        )

    whole = model(given.before)
    return Ion(whole, model(given.after) if given.after != given.before else None, levels, ionic(whole, n), given)


def multiplets_of(ion: Ion, settings: CoreLevelSettings, say: Reporter) -> Multiplets:
    """Initial states: on the whole sector where it is small enough, else on chosen classes in chains.

    Raises:
        ConfigError: If the ground state has collapsed to a full d shell.
    """
    wanted, size = settings.configurations, sector_size(ion.model)
    if size <= wanted.whole:
        say.message(f"{size} configurations of the initial states, all taken")
        states = multiplets(ion.model, settings.temperature_K, wanted.whole, with_hole=ion.with_hole)
    else:
        say.message(f"{size:.3g} configurations of the initial states, at most {wanted.ground} taken")
        n = ion.parameters.electrons
        model, with_hole = chained(ion.model, n), None if ion.with_hole is None else chained(ion.with_hole, n)
        with say.bar("configurations", float(wanted.ground), "") as bar:
            states = selected_multiplets(
                model, settings.temperature_K, ion.reference, wanted.ground, tell=lambda n: bar.set(float(n)),
                with_hole=with_hole,
            )  # fmt: skip
    full = states.shells.counts(states.rows)[:, 0] == 10
    weight = float(np.sum(np.abs(states.vectors[full, 0]) ** 2))
    if weight > COLLAPSED:
        raise ConfigError(
            f"the ground state has a full d shell (d10) in {100 * weight:.1f} % of its weight: delta_eV "
            f"{settings.delta_eV:g} is too low for {ion.parameters.electrons} electrons in the shell, or U_eV too small"
        )
    return states
