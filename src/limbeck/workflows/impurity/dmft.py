"""The DMFT loop of a configuration: every iteration is saved, a rerun goes on where the last one ended."""

from pathlib import Path
from typing import Any

import numpy as np

from limbeck.core.errors import ConfigError
from limbeck.core.progress import Reporter
from limbeck.core.record import read_json, write_json
from limbeck.impurity.bethe import Bethe
from limbeck.impurity.block_file import BlockFunction, write_block_functions
from limbeck.impurity.dmft import Accuracy, Iteration, Problem, insulating, iterate, metallic, weight_of
from limbeck.impurity.pole_sum import PoleSum
from limbeck.workflows.impurity.build import interaction_of
from limbeck.workflows.impurity.config import ImpuritySettings, SemicircleSettings, SlaterSettings, SpectrumSettings
from limbeck.workflows.impurity.dmft_config import DmftSettings

STATE, FUNCTIONS = "dmft-state.json", "dmft.h5"


def problem_of(settings: ImpuritySettings) -> Problem:
    """What the loop solves.

    Raises:
        ConfigError: If settings of a single impurity are given that the loop itself finds.
    """
    assert settings.dmft is not None
    bath, spectrum, ground = settings.bath, settings.spectrum, settings.ground_state
    if ground.method != "selected" or ground.basis != "natural":
        raise ConfigError("dmft: the loop takes 'method: selected' in natural orbitals; leave out ground_state.method "
                          "and basis")  # fmt: skip
    if not isinstance(bath, SemicircleSettings) or bath.total_eV2 is not None:
        raise ConfigError("dmft needs a bath of 'kind: semicircle' without total_eV2: the Bethe lattice at U = 0")
    if spectrum is None:
        raise ConfigError("dmft needs a spectrum: window, points and broadening of what is written")
    if isinstance(settings.interaction, SlaterSettings):
        raise ConfigError("dmft takes equivalent orbitals: interaction 'kind: kanamori' or 'kind: density_density'")
    given = [name for name in ("level_eV", "electrons") if getattr(settings, name) is not None]
    if settings.spin_2z:
        given.append("spin_2z")
    if given:
        raise ConfigError(f"{', '.join(given)}: the loop finds these; dmft.filling sets the number of electrons")
    accuracy = Accuracy(
        ground.configurations, ground.rounds, ground.round_configurations, spectrum.configurations, spectrum.poles,
        spectrum.broadening_eV,
    )  # fmt: skip
    return Problem(interaction_of(settings), bath.half_bandwidth_eV, bath.sites, settings.dmft.filling, accuracy)


def run_loop(settings: ImpuritySettings, folder: Path, key: str, say: Reporter) -> tuple[Iteration, dict[str, Any]]:
    """Turn the loop to its end; what ``results.json`` holds of it comes with the last iteration."""
    problem, wanted = problem_of(settings), settings.dmft
    assert wanted is not None
    start, first, history = _begin(problem, wanted, folder / STATE, key)
    if history or first > 1:
        say.message(f"goes on after iteration {first - 1}")

    def keep(done: Iteration) -> None:
        history.append(_row(done))
        write_json(folder / STATE, {
            "key": key, "history": history, "lattice": _lattice_values(done.lattice),
            "following": _lattice_values(done.following),
        })  # fmt: skip

    last = iterate(problem, start, wanted.iterations, wanted.tolerance, wanted.mixing, first, keep, say)
    return last, _found(last, history, settings)


def _begin(problem: Problem, wanted: DmftSettings, path: Path, key: str) -> tuple[Bethe, int, list[dict[str, Any]]]:
    """Where the loop begins, with which number, and what was before."""
    state = read_json(path) if path.exists() else {}
    if state.get("key") != key:
        return (metallic if wanted.start == "metal" else insulating)(problem), 1, []
    history = state["history"]
    is_over = history[-1]["change_over_D"] < wanted.tolerance or len(history) >= wanted.iterations
    if is_over:  # killed between the last iteration and the results: that iteration is done again
        return _lattice(problem, state["lattice"]), len(history), history[:-1]
    return _lattice(problem, state["following"]), len(history) + 1, history


def _lattice_values(lattice: Bethe) -> dict[str, Any]:
    sigma = lattice.self_energy
    return {"chemical_potential_eV": lattice.chemical_potential, "static_eV": sigma.static,
            "poles_eV": sigma.energies, "weights_eV2": sigma.weights}  # fmt: skip


def _lattice(problem: Problem, saved: dict[str, Any]) -> Bethe:
    sigma = PoleSum(saved["static_eV"], np.array(saved["poles_eV"]), np.array(saved["weights_eV2"]))
    return Bethe(problem.half_bandwidth, sigma, saved["chemical_potential_eV"])


def _row(done: Iteration) -> dict[str, Any]:
    z, difference = done.quasiparticle_weight()
    return {
        "iteration": done.number, "change_over_D": done.change, "Z": z, "Z_difference": difference,
        "filling": 2 * done.solution.occupation * len(done.solution.state.hamiltonian.model.interaction) / 2,
        "chemical_potential_eV": done.lattice.chemical_potential, "energy_eV": done.solution.state.energy,
        "pt2_eV": done.solution.state.pt2, "double_occupancy": done.solution.double_occupancy,
        "bath_levels": len(done.bath.energies), "bath_spacing_eV": done.bath.spacing, "has_gap": done.bath.has_gap,
        "cpu_s": done.cpu_s,
    }  # fmt: skip


def functions_of(last: Iteration, wanted: SpectrumSettings) -> dict[str, Any]:
    """Everything on the line ``w + i broadening``: Dyson's equation and self-consistency hold on it point by point.

    G, Sigma, Delta of the lattice with the impurity's last self-energy, G0 from Delta, and, to compare, the impurity's
    own G, Delta of the bath's levels, and G with the self-energy of the rough excited spaces.
    """
    w = np.linspace(wanted.window_eV[0], wanted.window_eV[1], wanted.points)
    z = w + 1j * wanted.broadening_eV
    d, mu = last.lattice.half_bandwidth, last.following.chemical_potential
    lattice, rough = Bethe(d, last.solution.self_energy, mu), Bethe(d, last.solution.rough, mu)
    delta = lattice.hybridization(z)
    fitted = last.bath.hybridization(z)
    went_in = last.lattice.hybridization(z)
    free, free_fitted = (1.0 / (z + last.lattice.chemical_potential - x) for x in (went_in, fitted))
    return {
        "w": w, "G": lattice(z), "Sigma": last.solution.self_energy(z), "Delta": delta, "G0": 1.0 / (z + mu - delta),
        "G_impurity": last.solution.green(z), "Delta_went_in": went_in, "Delta_bath": fitted,
        "error": np.abs((lattice(z) - rough(z)).imag) / np.pi,
        "misfit_Delta_over_D": float(np.abs(fitted - went_in).max() / d),
        "misfit_G0_times_D": float(np.abs(free_fitted - free).max() * d),
    }  # fmt: skip


def _found(last: Iteration, history: list[dict[str, Any]], settings: ImpuritySettings) -> dict[str, Any]:
    wanted, loop = settings.spectrum, settings.dmft
    assert wanted is not None
    assert loop is not None
    found = functions_of(last, wanted)
    sigma = last.solution.self_energy
    z, difference = last.quasiparticle_weight()
    rough, _ = weight_of(last.solution.rough, last.bath, last.lattice.half_bandwidth)
    final = Bethe(last.lattice.half_bandwidth, sigma, last.following.chemical_potential)
    recent = [row["Z"] for row in history[-3:]]
    return {
        "history": history, "converged": last.change < loop.tolerance, "tolerance": loop.tolerance,
        "Z": {"value": z, "standard_error": max(difference, abs(z - rough), float(np.ptp(recent)))},
        "Z_parts": {
            "two_ways": difference, "half_the_excited_space": abs(z - rough), "iterations": float(np.ptp(recent)),
        },
        "has_gap": last.bath.has_gap, "chemical_potential_eV": final.chemical_potential,
        "filling_of_lattice": 2 * (len(last.solution.state.hamiltonian.model.interaction) // 2) * final.filling(),
        "filling_of_impurity": history[-1]["filling"],
        "self_energy": {"static_eV": sigma.static, "weight_eV2": sigma.moment(0)},
        "largest_positive_imaginary_Sigma_eV": float(max(found["Sigma"].imag.max(), 0.0)),
        "misfit_Delta_over_D": found["misfit_Delta_over_D"], "misfit_G0_times_D": found["misfit_G0_times_D"],
        "impurity_minus_lattice_G_times_D": float(np.abs(found["G_impurity"] - found["G"]).max()
                                                  * last.lattice.half_bandwidth),
        **{f"{name}_{part}": getattr(found[name], short)
           for name in ("G", "Delta", "Delta_bath", "Delta_went_in", "G_impurity")
           for part, short in (("real", "real"), ("imaginary", "imag"))},
    }  # fmt: skip


def spectrum_of(last: Iteration, settings: ImpuritySettings) -> dict[str, Any]:
    """Spectrum of the lattice, as that of a single impurity is told."""
    wanted = settings.spectrum
    assert wanted is not None
    found, green = functions_of(last, wanted), last.solution.green
    return {
        "orbitals": [0], "frequencies_eV": found["w"], "broadening_eV": wanted.broadening_eV,
        "spectral_function": [-found["G"].imag / np.pi], "errors": [found["error"]],
        "self_energy_real_eV": [found["Sigma"].real], "self_energy_imaginary_eV": [found["Sigma"].imag],
        "moment_0": [green.moment(0)], "moment_1_eV": [green.moment(1)],
        "configurations": [list(last.solution.configurations)], "cpu_s": last.solution.cpu_s[1],
    }  # fmt: skip


def write_functions(folder: Path, last: Iteration, settings: ImpuritySettings) -> None:
    """``dmft.h5``: G, Sigma, Delta, G0 of all orbitals, blocks ``up`` and ``down``, in the layout of TRIQS."""
    wanted = settings.spectrum
    assert wanted is not None
    found, unit = functions_of(last, wanted), np.eye(settings.orbitals)
    functions = {}
    for name in ("G", "Sigma", "Delta", "G0"):
        matrix = found[name][:, None, None] * unit
        functions[name] = BlockFunction(found["w"], {"up": matrix, "down": matrix})
    write_block_functions(folder / FUNCTIONS, functions, {
        "broadening_eV": wanted.broadening_eV, "chemical_potential_eV": last.following.chemical_potential,
        "half_bandwidth_eV": last.lattice.half_bandwidth,
    })  # fmt: skip
