"""Configuration of an impurity calculation."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from limbeck.core.config import Settings
from limbeck.workflows.impurity.dmft_config import DmftSettings
from limbeck.workflows.impurity.inputs import DumpSettings, MatsubaraSettings, WannierSettings

Positive = Annotated[float, Field(gt=0)]


class KanamoriSettings(Settings):
    """U in one orbital, U - 2J between orbitals, Hund's exchange, spin flip and pair hopping J."""

    kind: Literal["kanamori"] = "kanamori"
    U_eV: float
    """Repulsion of two electrons in one orbital."""
    J_eV: float = 0.0
    """Hund's coupling."""
    U_prime_eV: float | None = None
    """Repulsion between orbitals; U - 2J where left out."""


class DensitySettings(Settings):
    """The density-density part of Kanamori's interaction."""

    kind: Literal["density_density"] = "density_density"
    U_eV: float
    """Repulsion of two electrons in one orbital."""
    J_eV: float = 0.0
    """Hund's coupling."""


class SlaterSettings(Settings):
    """A whole shell of 3 (p), 5 (d) or 7 (f) orbitals in real spherical harmonics, by its radial integrals."""

    kind: Literal["slater"] = "slater"
    F0_eV: float
    """Monopole."""
    F2_eV: float = 0.0
    """Quadrupole."""
    F4_eV: float = 0.0
    """Of d and f shells."""
    F6_eV: float = 0.0
    """Of f shells."""


Interaction = Annotated[KanamoriSettings | DensitySettings | SlaterSettings, Field(discriminator="kind")]


class SemicircleSettings(Settings):
    """Semicircular hybridization in windows of equal width, the same for every orbital."""

    kind: Literal["semicircle"] = "semicircle"
    sites: int = Field(ge=1, le=400)
    """Bath levels of each orbital; an odd number has one at the Fermi level."""
    half_bandwidth_eV: Positive = 1.0
    """D: the hybridization is there from -D to D."""
    total_eV2: Positive | None = None
    """Sum of the squared couplings; D^2 / 4 where left out (the Bethe lattice without interaction)."""


class LevelsSettings(Settings):
    """Levels and couplings as they stand."""

    kind: Literal["levels"] = "levels"
    energies_eV: list[float] = Field(min_length=1)
    """Energy of each level."""
    couplings_eV: list[list[float]] = Field(min_length=1)
    """For each orbital of the impurity a list of its couplings to all levels."""


class FileBathSettings(Settings):
    """A hybridization function on the real axis in a file, in eV: energy and Gamma = -Im Delta, or all of Delta."""

    kind: Literal["file"] = "file"
    path: str = Field(min_length=1)
    """The file, relative to the configuration: two columns (the same for every orbital), or energy and Re, Im of each
    element of Delta(w + i0), 1 + 2 m^2 columns for m orbitals."""
    sites: int = Field(ge=1, le=400)
    """Windows, one bath level for each orbital in each of them."""
    windows: Literal["equal", "weight", "logarithmic"] = "equal"
    """Windows of equal width, of equal weight, or each half as wide as the next towards zero."""


Bath = Annotated[
    SemicircleSettings | LevelsSettings | FileBathSettings | MatsubaraSettings | WannierSettings,
    Field(discriminator="kind"),
]


class NetworkSettings(Settings):
    """A transformer that holds the amplitudes of the configurations."""

    width: int = Field(default=16, ge=1, le=512)
    """Numbers of a token; a token is an orbital."""
    layers: int = Field(default=2, ge=1, le=32)
    """Encoder layers."""
    heads: int = Field(default=4, ge=1, le=64)
    """Heads of attention; they divide the width."""
    feed_forward: int = Field(default=32, ge=1, le=2048)
    """Width of the layer after the attention."""
    first_configurations: int = Field(default=1000, ge=10)
    """Configurations of the first set; it is doubled until there are as many as wanted."""
    steps: int = Field(default=60, ge=1)
    """Steps by the energy on the last set, at most."""
    boundary: float = Field(default=0.25, ge=0, le=20)
    """Configurations outside that are trained along, relative to those of the set."""
    seed: int = Field(default=0, ge=0)
    """Of the random start."""
    start: str | None = None
    """network.npz of an earlier run with the same sizes, relative to the file: its parameters are begun with in place
    of random ones, and only their energy is lowered."""


class MatrixProductSettings(Settings):
    """A matrix product state, found by block2 in a process of its own."""

    bond_dimensions: list[int] = Field(default=[16, 32, 64, 128], min_length=2)
    """One after the other, increasing; the energy is continued from the last two."""
    sweeps: int = Field(default=24, ge=8, le=1000)
    """Sweeps at each, at most."""
    python: str | None = None
    """Interpreter that has block2, relative to the file; left out: that of LIMBECK_BLOCK2_PYTHON, or limbeck's own."""
    memory_GB: Positive = 1.0
    """Memory of block2's stack."""

    @model_validator(mode="after")
    def _increasing(self) -> "MatrixProductSettings":
        if self.bond_dimensions[0] < 2 or self.bond_dimensions != sorted(set(self.bond_dimensions)):
            raise ValueError(f"bond_dimensions must be 2 or more and increase, got {self.bond_dimensions}")
        return self


class GroundSettings(Settings):
    """Selected configuration interaction, all of the sector, a network on a growing set, or a matrix product state."""

    method: Literal["selected", "exact", "network", "dmrg"] = "selected"
    """Configurations chosen as they are needed, all of them (small models only), a network for their amplitudes, or a
    matrix product state (needs block2), of which the largest configurations are kept."""
    dmrg: MatrixProductSettings = MatrixProductSettings()
    """The matrix product state, for 'method: dmrg'."""
    network: NetworkSettings = NetworkSettings()
    """The network, for 'method: network'."""
    basis: Literal["natural", "star", "chain"] = "natural"
    """Orbitals of the bath; levels and a chain are there to compare with."""
    configurations: int = Field(default=10_000, ge=10, le=5_000_000)
    """Configurations of the ground state, at most."""
    rounds: int = Field(default=1, ge=0, le=10)
    """Times that natural orbitals are made anew from the correlated density matrix."""
    round_configurations: int = Field(default=2000, ge=10)
    """Configurations of the smaller calculations that give them."""


class SpectrumSettings(Settings):
    """Local Green's function on a restricted excitation space."""

    orbitals: list[int] = [0]
    """Orbitals of the impurity, spin up of each."""
    window_eV: list[float] = Field(default=[-4.0, 4.0], min_length=2, max_length=2)
    """Frequencies relative to the Fermi level."""
    points: int = Field(default=1401, ge=2, le=200_000)
    """Frequencies at equal distances."""
    broadening_eV: Positive = 0.1
    """Half width of the Lorentzian."""
    configurations: int = Field(default=10_000, ge=10, le=5_000_000)
    """Configurations of each of the two excited spaces, at most; at least three times as many as the operator makes."""
    poles: int = Field(default=120, ge=10, le=3000)
    """Lanczos steps."""

    @model_validator(mode="after")
    def _window_in_order(self) -> "SpectrumSettings":
        if self.window_eV[0] >= self.window_eV[1]:
            raise ValueError("window_eV must be the lower and the upper end, in this order")
        return self


class ImpuritySettings(Settings):
    """The whole file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name; the folder of the results is called after it."""
    title: str = ""
    """One line for the head of the report."""
    orbitals: int = Field(default=1, ge=1, le=7)
    """Correlated orbitals."""
    interaction: Interaction | None = None
    """Interaction of the impurity's electrons; needed unless 'fcidump' gives the model."""
    level_eV: float | list[float] | None = None
    """Energy of the impurity's orbitals, one or one each; left out: that at which symmetry makes it half filled.
    With a wannier90 bath it is added to the local Hamiltonian of the file (minus the double counting)."""
    bath: Bath | None = None
    """Levels that the impurity hybridizes with; needed unless 'fcidump' gives the model."""
    fcidump: DumpSettings | None = None
    """A whole model from a file, in place of orbitals, interaction, level_eV, bath, electrons and spin_2z."""
    electrons: int | None = Field(default=None, ge=0)
    """Electrons in all; left out: one for each orbital, bath included; with a wannier90 bath as many as levels below
    the Fermi energy hold without interaction."""
    spin_2z: int = 0
    """Electrons with spin up less those with spin down."""
    ground_state: GroundSettings = GroundSettings()
    """How the ground state is found."""
    spectrum: SpectrumSettings | None = SpectrumSettings()
    """What spectrum is wanted; 'null' for none."""
    dmft: DmftSettings | None = None
    """Make the bath self-consistent with a Bethe lattice of such impurities; left out: the bath stays as it is."""

    @model_validator(mode="after")
    def _one_source(self) -> "ImpuritySettings":
        own = ("orbitals", "interaction", "level_eV", "bath", "electrons", "spin_2z")
        if self.fcidump is None:
            missing = [name for name in ("interaction", "bath") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"{' and '.join(missing)} must be given, or fcidump")
        elif given := [name for name in own if name in self.model_fields_set]:
            raise ValueError(f"fcidump gives the whole model; leave out {', '.join(given)}")
        return self

    def files(self) -> list[Path]:
        """Files that the model is made of."""
        found = [Path(part.path) for part in (self.bath, self.fcidump) if part is not None and hasattr(part, "path")]
        start = self.ground_state.network.start if self.ground_state.method == "network" else None
        return found if start is None else [*found, Path(start)]

    def beside(self, folder: Path) -> "ImpuritySettings":
        """The same with paths that start at a folder."""
        moved: dict[str, object] = {
            name: part.model_copy(update={"path": str(folder / part.path)})
            for name, part in (("bath", self.bath), ("fcidump", self.fcidump))
            if part is not None and hasattr(part, "path")
        }
        network, dmrg = self.ground_state.network, self.ground_state.dmrg
        if network.start is not None:
            network = network.model_copy(update={"start": str(folder / network.start)})
        if dmrg.python is not None and "/" in dmrg.python:
            dmrg = dmrg.model_copy(update={"python": str(folder / Path(dmrg.python).expanduser())})
        moved["ground_state"] = self.ground_state.model_copy(update={"network": network, "dmrg": dmrg})
        return self.model_copy(update=moved)
