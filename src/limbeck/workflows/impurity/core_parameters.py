"""Slater integrals and spin-orbit constants of a configured ion: those of the file, the table of atoms for the rest."""

from dataclasses import dataclass

from limbeck.core.errors import ConfigError
from limbeck.impurity.atomic import AtomicParameters, DShell, atomic_parameters
from limbeck.workflows.impurity.core_config import CoreLevelSettings

ION_FACTOR = 0.8
"""Slater integrals of solids over those of Hartree-Fock for the free ion, by custom."""
EMPTY = DShell({2: 0.0, 4: 0.0}, 0.0)
NOTHING = AtomicParameters("", "", "", 0, EMPTY, EMPTY, {2: 0.0}, {1: 0.0, 3: 0.0}, 0.0)


@dataclass(frozen=True)
class Parameters:
    """What the Hamiltonian is made of, eV; Slater integrals are multiplied by their factor already.

    Attributes:
        electrons: Of the d shell.
        before: The d shell.
        after: The d shell while there is a core hole.
        direct: F^2 between core and d shell.
        exchange: G^1 and G^3 between them.
        core_spin_orbit: zeta of the core.
        slater_factor: What those of the table were multiplied by, or those of the file where there is no ion.
    """

    electrons: int
    before: DShell
    after: DShell
    direct: dict[int, float]
    exchange: dict[int, float]
    core_spin_orbit: float
    slater_factor: float

    @property
    def table(self) -> list[tuple[str, float]]:
        """Names and values for reading."""
        rows = [
            ("F2(d,d)", self.before.integrals[2]), ("F4(d,d)", self.before.integrals[4]),
            ("zeta(d)", self.before.spin_orbit),
        ]  # fmt: skip
        if self.after != self.before:
            rows += [
                ("F2(d,d) with hole", self.after.integrals[2]), ("F4(d,d) with hole", self.after.integrals[4]),
                ("zeta(d) with hole", self.after.spin_orbit),
            ]  # fmt: skip
        return [
            *rows, ("F2(core,d)", self.direct[2]), ("G1(core,d)", self.exchange[1]), ("G3(core,d)", self.exchange[3]),
            ("zeta(core)", self.core_spin_orbit),
        ]  # fmt: skip


def parameters_of(settings: CoreLevelSettings) -> Parameters:
    """Parameters of the file, and of the ion where the file leaves them out.

    A value of the file for the d shell holds with a core hole, too, unless the file gives another one for that. Where
    the file gives no factor, its own Slater integrals are taken as they stand, those of the table at
    :data:`ION_FACTOR`.

    Raises:
        ConfigError: If the table does not have the ion, or it has another number of electrons than the file says.
    """
    d, core, atom = settings.shell, settings.core, NOTHING
    if settings.ion is not None:
        atom = atomic_parameters(settings.ion, core.shell)
        if d.electrons not in (None, atom.electrons):
            raise ConfigError(f"{settings.ion} has {atom.electrons} d electrons, shell.electrons says {d.electrons}")
    own, of_table = settings.slater_factor or 1.0, settings.slater_factor or ION_FACTOR

    def integral(*given: float | None, table: float) -> float:
        return next((own * x for x in given if x is not None), of_table * table)

    before, after = atom.before, atom.after
    return Parameters(
        atom.electrons if d.electrons is None else d.electrons,
        DShell(
            {2: integral(d.F2_eV, table=before.integrals[2]), 4: integral(d.F4_eV, table=before.integrals[4])},
            _first(d.spin_orbit_eV, before.spin_orbit),
        ),
        DShell(
            {2: integral(d.F2_with_hole_eV, d.F2_eV, table=after.integrals[2]),
             4: integral(d.F4_with_hole_eV, d.F4_eV, table=after.integrals[4])},
            _first(d.spin_orbit_with_hole_eV, d.spin_orbit_eV, after.spin_orbit),
        ),
        {2: integral(core.F2_eV, table=atom.direct[2])},
        {1: integral(core.G1_eV, table=atom.exchange[1]), 3: integral(core.G3_eV, table=atom.exchange[3])},
        _first(core.spin_orbit_eV, atom.core_spin_orbit),
        of_table if settings.ion is not None else own,
    )  # fmt: skip


def _first(*values: float | None) -> float:
    return next(x for x in values if x is not None)
