"""Configuration of an impurity calculation."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from limbeck.core.config import Settings
from limbeck.workflows.impurity.dmft_config import DmftSettings

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
    """A hybridization function in a file of two columns: energy, and Gamma = -Im Delta, both in eV."""

    kind: Literal["file"] = "file"
    path: str = Field(min_length=1)
    """The file, relative to the configuration; the same for every orbital."""
    sites: int = Field(ge=1, le=400)
    """Bath levels of each orbital, one for each of so many windows of equal width."""


Bath = Annotated[SemicircleSettings | LevelsSettings | FileBathSettings, Field(discriminator="kind")]


class GroundSettings(Settings):
    """Selected configuration interaction."""

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
    interaction: Interaction
    """Interaction of the impurity's electrons."""
    level_eV: float | list[float] | None = None
    """Energy of the impurity's orbitals, one or one each; left out: that at which symmetry makes it half filled."""
    bath: Bath
    """Levels that the impurity hybridizes with."""
    electrons: int | None = Field(default=None, ge=0)
    """Electrons in all; left out: one for each orbital, bath included."""
    spin_2z: int = 0
    """Electrons with spin up less those with spin down."""
    ground_state: GroundSettings = GroundSettings()
    """How the ground state is found."""
    spectrum: SpectrumSettings | None = SpectrumSettings()
    """What spectrum is wanted; 'null' for none."""
    dmft: DmftSettings | None = None
    """Make the bath self-consistent with a Bethe lattice of such impurities; left out: the bath stays as it is."""

    def beside(self, folder: Path) -> "ImpuritySettings":
        """The same with paths that start at a folder."""
        if not isinstance(self.bath, FileBathSettings):
            return self
        moved = self.bath.model_copy(update={"path": str(folder / self.bath.path)})
        return self.model_copy(update={"bath": moved})
