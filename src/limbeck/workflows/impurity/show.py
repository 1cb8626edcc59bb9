"""The result for reading on a terminal."""

from typing import Any


def show(found: dict[str, Any]) -> str:
    """Ground state and spectrum in words."""
    ground, model = found["ground_state"], found["model"]
    value = ground["extrapolated_eV"]
    orbitals = [f"{up:.4f} / {down:.4f}" for up, down in ground["occupations"]]
    weights = ", ".join(f"d{n} {100 * w:.2f} %" for n, w in enumerate(ground["electron_weights"]) if w > 5e-5)
    lines = [
        f"{model['orbitals']} correlated orbital{'s' if model['orbitals'] > 1 else ''}, "
        f"{model['bath_levels']} bath levels, "
        f"{model['electrons']} electrons",
        "",
        f"ground state on {ground['configurations']} configurations, {ground['cpu_s']:.1f} CPU seconds",
        f"  energy              {ground['energy_eV']:.9f} eV (an upper bound)",
        f"  of the mean field   {found['mean_field_energy_eV']:.9f} eV",
        f"  with PT2            {ground['energy_eV'] + ground['pt2_eV']:.9f} eV",
        f"  extrapolated        {value['value']:.9f} ± {value['standard_error']:.1g} eV",
        f"  occupations up/down {', '.join(orbitals)}",
        f"  double occupancies  {', '.join(f'{d:.4f}' for d in ground['double_occupancies'])}",
        f"  electrons           {weights}",
        f"  <S^2>               {ground['spin_squared']:.4f} of all, {ground['local_moment']:.4f} of the impurity",
    ]
    if "network" in found:
        lines += _network(found["network"])
    if "dmrg" in found:
        lines += _matrix_product(found["dmrg"])
    if "bath_fit" in model:
        fit = model["bath_fit"]
        lines[1:1] = [f"bath fitted: Delta within {fit['error']:.2g}, G0 within {fit['error_green']:.2g} (relative)"]
    if "constant_eV" in model:
        lines[1:1] = [f"energies without the constant {model['constant_eV']:.8f} eV of the file"]
    if "spectrum" in found:
        spectrum = found["spectrum"]
        lines += ["", f"spectrum, half width {spectrum['broadening_eV']:g} eV, {spectrum['cpu_s']:.1f} CPU seconds"]
        for k, orbital in enumerate(spectrum["orbitals"]):
            peak = max(spectrum["spectral_function"][k])
            at = spectrum["frequencies_eV"][spectrum["spectral_function"][k].index(peak)]
            lines.append(
                f"  orbital {orbital}: peak {peak:.4f} /eV at {at:.3f} eV, error {max(spectrum['errors'][k]):.2g} /eV, "
                f"weight {spectrum['moment_0'][k]:.8f}, first moment {spectrum['moment_1_eV'][k]:.6f} eV, "
                f"{spectrum['configurations'][k][0]} + {spectrum['configurations'][k][1]} configurations"
            )
    if "dmft" in found:
        lines += ["", *_loop(found["dmft"])]
    lines += ["", *(f"warning: {w}" for w in found["warnings"])] if found["warnings"] else []
    return "\n".join(lines)


def _loop(loop: dict[str, Any]) -> list[str]:
    z, last = loop["Z"], loop["history"][-1]
    cpu = sum(row["cpu_s"] for row in loop["history"]) / len(loop["history"])
    return [
        f"DMFT on the Bethe lattice: {len(loop['history'])} iterations, {cpu:.1f} CPU seconds each, "
        f"{'converged' if loop['converged'] else 'NOT converged'} (Delta changed by {last['change_over_D']:.1g} D)",
        f"  quasi-particle weight {z['value']:.4f} ± {z['standard_error']:.1g}"
        + (", an insulator: no weight at the Fermi level" if loop["has_gap"] else ""),
        f"  electrons of a site {loop['filling_of_lattice']:.4f} lattice, {loop['filling_of_impurity']:.4f} impurity, "
        f"chemical potential {loop['chemical_potential_eV']:.4f} eV",
        f"  bath of {last['bath_levels']} levels misses Delta by {loop['misfit_Delta_over_D']:.1g} D, G0 by "
        f"{loop['misfit_G0_times_D']:.1g} / D at the broadening",
    ]


def _matrix_product(part: dict[str, Any]) -> list[str]:
    last, value = part["bonds"][-1], part["extrapolated_eV"]
    return [
        f"  matrix product      {part['energy_eV']:.9f} eV at bond dimension {last['bond']} of {part['symmetry']} (an "
        f"upper bound), variance {part['variance_eV2']:.1g} eV^2",
        f"  continued           {value['value']:.9f} ± {value['standard_error']:.1g} eV to no discarded weight (now "
        f"{last['discarded']:.1g})",
        f"  weight kept         1 - {max(1 - part['weight'], 0.0):.1g} on the configurations above",
    ]


def _network(network: dict[str, Any]) -> list[str]:
    last = network["rounds"][-1]
    lines = [
        f"  network             {network['parameters']} parameters for {network['amplitudes']} amplitudes that "
        f"{network['symmetries']} symmetries leave free",
        f"  above the set's own {last['energy_eV'] - network['set_energy_eV']:.2g} eV (lowest energy on the same set)",
    ]
    if "outside" in network:
        out = network["outside"]
        lines.append(
            f"  outside its set     signs right for {100 * out['right_signs']:.0f} % of the weight, sizes correlate "
            f"{out['size_correlation']:.2f} with perturbation theory"
        )
    return lines
