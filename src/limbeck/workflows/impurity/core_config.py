"""Configuration of core-level spectra of an ion."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from limbeck.core.config import Settings

Positive = Annotated[float, Field(gt=0)]
Spectrum = Literal["xas", "xps", "rixs"]


class ShellSettings(Settings):
    """The d shell."""

    electrons: int | None = Field(default=None, ge=0, le=10)
    """Of the ionic configuration d^n; left out: those of 'ion'."""
    U_eV: float
    """Average repulsion of two d electrons."""
    F2_eV: float | None = None
    """Slater integral F^2 of the d shell; left out: that of 'ion', or 0."""
    F4_eV: float | None = None
    """Slater integral F^4 of the d shell; left out: that of 'ion', or 0."""
    spin_orbit_eV: float | None = None
    """Spin-orbit constant of the d shell; left out: that of 'ion', or 0."""
    F2_with_hole_eV: float | None = None
    """F^2 of the d shell while there is a core hole; left out: that of 'ion', or F2_eV."""
    F4_with_hole_eV: float | None = None
    """F^4 of the d shell while there is a core hole; left out: that of 'ion', or F4_eV."""
    spin_orbit_with_hole_eV: float | None = None
    """Spin-orbit constant while there is a core hole; left out: that of 'ion', or spin_orbit_eV."""
    ten_Dq_eV: float = 0.0
    """Cubic field: e_g above t_2g, without what hopping to ligands adds."""
    field_eV: list[float] = Field(default=[0.0, 0.0, 0.0], min_length=3, max_length=3)
    """Exchange field (x, y, z) that acts on the spin as 2 field . S."""


class CoreSettings(Settings):
    """The p shell that loses an electron."""

    shell: Literal["2p", "3p", "4p", "5p"] = "2p"
    """Which one, where 'ion' gives its integrals: 2p for L2,3 edges, 3p for M2,3."""
    U_eV: float
    """Average attraction of a core hole and a d electron."""
    F2_eV: float | None = None
    """Slater integral F^2 between core and d shell; left out: that of 'ion', or 0."""
    G1_eV: float | None = None
    """Exchange integral G^1 between them; left out: that of 'ion', or 0."""
    G3_eV: float | None = None
    """Exchange integral G^3 between them; left out: that of 'ion', or 0."""
    spin_orbit_eV: float | None = None
    """Spin-orbit constant of the core; left out: that of 'ion', or 0."""
    edge_eV: float
    """Average energy of the configuration with a core hole and n + 1 d electrons above d^n."""
    binding_eV: float | None = None
    """Average energy of the configuration with a core hole and n d electrons, for photoemission; edge_eV where left
    out."""


class LigandSettings(Settings):
    """A full shell of ten ligand orbitals of the symmetry of d orbitals."""

    level_eV: float = 0.0
    """Its average level above that which delta_eV speaks of."""
    ten_Dq_eV: float = 0.0
    """Its e_g level above its t_2g level."""
    V_eg_eV: float
    """Hopping to the e_g orbitals."""
    V_t2g_eV: float
    """Hopping to the t_2g orbitals."""


class ConductionSettings(Settings):
    """An empty shell of ten orbitals of the symmetry of d orbitals."""

    energy_eV: float
    """Average energy of the configuration with one electron moved from d^n into it."""
    ten_Dq_eV: float = 0.0
    """Its e_g level above its t_2g level."""
    V_eg_eV: float
    """Hopping to the e_g orbitals."""
    V_t2g_eV: float
    """Hopping to the t_2g orbitals."""


class AbsorptionSettings(Settings):
    """X-ray absorption."""

    window_eV: list[float] | None = Field(default=None, min_length=2, max_length=2)
    """Photon energies; left out: around all lines."""
    points: int = Field(default=1001, ge=2, le=100_000)
    """Energies at equal distances."""
    half_width_eV: Positive = 0.25
    """Half width of the Lorentzian."""

    @model_validator(mode="after")
    def _in_order(self) -> "AbsorptionSettings":
        if self.window_eV is not None and self.window_eV[0] >= self.window_eV[1]:
            raise ValueError("window_eV must be the lower and the upper end, in this order")
        return self


class PhotoemissionSettings(AbsorptionSettings):
    """Core photoemission by binding energy."""

    half_width_eV: Positive = 0.4
    """Half width of the Lorentzian."""


class ScatteringSettings(Settings):
    """Resonant inelastic scattering."""

    incident_eV: list[float] | None = Field(default=None, min_length=1)
    """Incident energies; left out: 25 from 3 eV below to 6 eV above the main line of the absorption."""
    core_half_width_eV: Positive = 0.25
    """Half width of the core hole."""
    final_half_width_eV: Positive = 0.05
    """Half width of the final states."""
    loss_eV: list[float] = Field(default=[-0.5, 10.0], min_length=2, max_length=2)
    """Energy losses that are shown."""
    points: int = Field(default=526, ge=2, le=20_000)
    """Losses at equal distances."""
    angle_deg: float = Field(default=90.0, ge=0.0, le=180.0)
    """Angle between incident and emitted light."""
    in_plane: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of the incident light that is polarized in the plane of scattering (pi); 0 is sigma, 0.5 unpolarized."""

    @model_validator(mode="after")
    def _in_order(self) -> "ScatteringSettings":
        if self.loss_eV[0] >= self.loss_eV[1]:
            raise ValueError("loss_eV must be the lower and the upper end, in this order")
        return self


class ConfigurationSettings(Settings):
    """How many configurations are taken where all are too many."""

    whole: int = Field(default=200_000, ge=1, le=10_000_000)
    """Sectors up to this are taken whole."""
    ground: int = Field(default=20_000, ge=10, le=5_000_000)
    """Configurations of the initial states, where classes are chosen."""
    excited: int = Field(default=40_000, ge=10, le=5_000_000)
    """Configurations of the states with a core hole, where classes are chosen."""


class CoreLevelSettings(Settings):
    """The whole file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name; the folder of the results is called after it."""
    title: str = ""
    """One line for the head of the report."""
    ion: str | None = None
    """Free ion whose Hartree-Fock parameters fill in what shell and core leave out, as Ni2+ ('limbeck atom' shows
    them)."""
    shell: ShellSettings
    """The d shell."""
    core: CoreSettings
    """The core shell."""
    slater_factor: Positive | None = None
    """All Slater integrals (F2, F4, G1, G3) are multiplied by this; left out: those of 'ion', which are Hartree-Fock
    values, by 0.8, those of the file by 1."""
    delta_eV: float = 0.0
    """Charge-transfer energy: average energy of d^(n+1) with one ligand hole above d^n."""
    ligands: list[LigandSettings] = []
    """Ligand shells; none for an ion in a crystal field."""
    conduction: list[ConductionSettings] = []
    """Empty shells."""
    temperature_K: float = Field(default=300.0, ge=0.0)
    """Temperature; 0 for the lowest level alone."""
    spectra: list[Spectrum] = Field(default=["xas"], min_length=1)
    """Which spectra: xas, xps, rixs."""
    xas: AbsorptionSettings = AbsorptionSettings()
    """X-ray absorption."""
    xps: PhotoemissionSettings = PhotoemissionSettings()
    """Core photoemission."""
    rixs: ScatteringSettings = ScatteringSettings()
    """Inelastic scattering."""
    configurations: ConfigurationSettings = ConfigurationSettings()
    """Sizes of the sets of configurations."""

    @model_validator(mode="after")
    def _electrons_known(self) -> "CoreLevelSettings":
        if self.ion is None and self.shell.electrons is None:
            raise ValueError("shell.electrons must be given, or ion, as Ni2+")
        return self
