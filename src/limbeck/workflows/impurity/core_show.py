"""Core-level spectra for reading on a terminal."""

from typing import Any

N_LEVELS = 6


def show_core_level(found: dict[str, Any]) -> str:
    """Multiplets and spectra in words."""
    part, given, ion = found["multiplets"], found["parameters"], found["settings"]["ion"]
    means = part["means"]
    taken = "all" if part["is_whole"] else f"selected, PT2 {1e3 * part['steps'][-1]['pt2_eV']:.2g} meV"
    what = "ion" if ion is None else ion
    lines = [f"d^{given['electrons']} {what} with {part['spin_orbitals']} spin orbitals", ""]
    if ion is not None:
        values = ", ".join(f"{name} {value:.3f}" for name, value in given["values_eV"])
        lines += [
            f"parameters (eV; Slater integrals of the table are {given['slater_factor']:g} of Hartree-Fock): {values}",
            "",
        ]
    if found["configurations_eV"]:
        lines.append("average energies of configurations above the ionic one")
        lines += [f"  {name:12} {energy:10.3f} eV" for name, energy in found["configurations_eV"]]
        lines.append("")
    lines += [f"multiplets on {part['configurations']} configurations ({taken}), {part['cpu_s']:.1f} CPU seconds"]
    lines += [
        f"  {x['energy_meV']:9.3f} meV, {x['degeneracy']} state{'s' if x['degeneracy'] > 1 else ''}, weight "
        f"{x['weight']:.4f}: <S^2> {x['S2']:.4f} (of all {x['S2_of_all']:.4f}), <L^2> {x['L2']:.4f}, "
        f"<J^2> {x['J2']:.4f}"
        for x in part["levels"][:N_LEVELS]
    ]
    if len(part["levels"]) > N_LEVELS:
        lines.append(f"  and {len(part['levels']) - N_LEVELS} levels more")
    weights = ", ".join(f"{name} {100 * w:.2f} %" for name, w in part["weights"].items() if w > 5e-5)
    lines += [
        f"  thermal mean       <S^2> {means['S2']:.4f}, <L^2> {means['L2']:.4f}, <J^2> {means['J2']:.4f}, "
        f"<sum l.s> {means['l_s']:.4f}, <S_z> {means['Sz']:.4f}",
        f"  configurations     {weights}",
        "",
    ]
    for name, key, what in (("xas", "isotropic", "absorption"), ("xps", "spectrum", "photoemission")):
        if name in found:
            x = found[name]
            peak = max(x[key])
            lines.append(
                f"{what}: main line at {x['energies_eV'][x[key].index(peak)]:.3f} eV, {peak:.4f} /eV, error "
                f"{max(x['errors']):.2g} /eV; integral {x['integral']:.6f}; {x['configurations']} configurations, "
                f"{x['cpu_s']:.1f} CPU seconds"
            )
    if "rixs" in found:
        x = found["rixs"]
        lines.append(
            f"scattering: {len(x['incident_eV'])} incident energies, {x['configurations'][0]} configurations with a "
            f"core hole, {x['configurations'][1]} without, error "
            f"{x['error'] / max(max(r) for r in x['powder']):.2g} of the peak, {x['cpu_s']:.1f} CPU seconds"
        )
    lines += ["", *(f"warning: {w}" for w in found["warnings"])] if found["warnings"] else []
    return "\n".join(lines)
