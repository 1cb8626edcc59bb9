"""Ground state, then spectrum, then files."""

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from limbeck import __version__
from limbeck.core.config import load
from limbeck.core.errors import ConfigError
from limbeck.core.progress import Reporter, SilentReporter
from limbeck.core.record import hash_of, package_versions, read_json, to_jsonable, write_json, write_text
from limbeck.impurity.excitations import greens_function
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.orbitals import mean_field, natural_orbitals
from limbeck.impurity.properties import double_occupancy, electron_weights, local_moment, total_spin_squared
from limbeck.impurity.selected_ci import SelectedState, iterated
from limbeck.report.impurity import write_report
from limbeck.workflows.impurity.build import bath_of, model_of
from limbeck.workflows.impurity.config import ImpuritySettings, SpectrumSettings
from limbeck.workflows.impurity.dmft import run_loop, spectrum_of, write_functions

RESULTS = "results.json"
NOT_CAUSAL = 1e-3
"""Positive imaginary part of a self-energy, relative to its largest value, that is told of."""
FROZEN = 0.999
"""Weight of one number of electrons on the impurity above which a warning is given."""
LARGE_ERROR = 0.05
"""Stated error of a spectrum, relative to its peak, above which a warning is given."""


def read_settings(path: Path) -> ImpuritySettings:
    """Settings of a YAML file; paths in it are relative to the file."""
    return load(path, ImpuritySettings).beside(path.parent)


def run_impurity(settings: ImpuritySettings, folder: Path, *, reporter: Reporter | None = None) -> dict[str, Any]:
    """Solve an impurity model and write report, numbers and spectra into a folder; a finished run is not done again.

    Returns:
        What ``results.json`` holds.
    """
    say = reporter or SilentReporter()
    key = hash_of([__version__, settings.model_dump(mode="json"), _bath_hash(settings)])
    before = read_json(folder / RESULTS) if (folder / RESULTS).exists() else {}
    if before.get("key") == key:
        say.message(f"{folder}: is finished.")
        return before
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); give another --output.") from error
    if settings.dmft is not None:
        return _run_dmft(settings, folder, key, say)
    started, model = time.process_time(), model_of(settings)
    field = mean_field(model)
    basis = natural_orbitals(model, field[0])
    ground = settings.ground_state
    say.message(
        f"{model.n_spin_orbitals // 2} orbitals, {model.n_electrons} electrons; active space: "
        f"{int(basis.is_active.sum()) // 2} orbitals with {basis.n_active} electrons"
    )
    state = iterated(basis, ground.rounds, ground.round_configurations, ground.configurations, say)
    found = _head(settings, key, model, bath_of(settings)) | {
        "mean_field_energy_eV": field[1], "ground_state": _described(state),
    }  # fmt: skip
    found["ground_state"]["cpu_s"] = time.process_time() - started
    if settings.spectrum is not None:
        started = time.process_time()
        say.message(f"excited spaces of at most {settings.spectrum.configurations} configurations")
        found["spectrum"] = _spectrum(state, settings.spectrum, say)
        found["spectrum"]["cpu_s"] = time.process_time() - started
        _write_columns(folder, found["spectrum"])
    return _finished(folder, found)


def _run_dmft(settings: ImpuritySettings, folder: Path, key: str, say: Reporter) -> dict[str, Any]:
    """The same for a bath that is made self-consistent: ground state of the last impurity, spectrum of the lattice."""
    last, loop = run_loop(settings, folder, key, say)
    state, m = last.solution.state, settings.orbitals
    model, bath = state.hamiltonian.model, last.bath
    given = anderson(
        -last.lattice.chemical_potential * np.eye(m), np.tile(bath.energies, m), np.kron(np.eye(m), bath.couplings),
        model.interaction, model.n_electrons, model.spin_2z,
    )  # fmt: skip
    found = _head(settings, key, given, (np.tile(bath.energies, m), np.kron(np.eye(m), bath.couplings))) | {
        "mean_field_energy_eV": mean_field(given)[1],
        "ground_state": _described(state) | {"cpu_s": last.solution.cpu_s[0]},
        "spectrum": spectrum_of(last, settings),
        "dmft": loop,
    }
    _write_columns(folder, found["spectrum"])
    x = found["spectrum"]["frequencies_eV"]
    columns = (x, *(loop[f"{name}_{part}"] for name in ("Delta", "Delta_bath") for part in ("real", "imaginary")))
    _write_table(folder / "hybridization.dat", "energy, Delta of the lattice, Delta of the bath's levels (eV)", columns)
    write_functions(folder, last, settings)
    return _finished(folder, found)


def _head(
    settings: ImpuritySettings, key: str, model: ImpurityModel, bath: "tuple[np.ndarray, np.ndarray]"
) -> dict[str, Any]:
    return {
        "name": settings.name, "title": settings.title or settings.name, "key": key,
        "command": shlex.join(["limbeck", *sys.argv[1:]]), "version": __version__, "versions": package_versions(),
        "settings": settings.model_dump(mode="json"), "model": _described_model(settings, model, bath),
    }  # fmt: skip


def _finished(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    found["warnings"] = _warnings(found)
    plain: dict[str, Any] = to_jsonable(found)
    write_report(folder, plain)
    write_json(folder / RESULTS, plain)
    return plain


def _bath_hash(settings: ImpuritySettings) -> str:
    return hash_of([part.tolist() for part in bath_of(settings)])


def _described_model(
    settings: ImpuritySettings, model: ImpurityModel, bath: "tuple[np.ndarray, np.ndarray]"
) -> dict[str, Any]:
    energies, couplings = bath
    return {
        "orbitals": settings.orbitals, "bath_levels": len(energies), "electrons": model.n_electrons,
        "levels_eV": np.diag(model.one_body).real[: 2 * settings.orbitals : 2],
        "bath_energies_eV": energies, "couplings_eV": couplings,
        "hybridization_eV2": np.sum(np.abs(couplings) ** 2, axis=1),
    }  # fmt: skip


def _described(state: SelectedState) -> dict[str, Any]:
    m = state.hamiltonian.model.n_impurity
    occupations = np.diag(state.density()).real[:m]
    value, error = state.extrapolated
    return {
        "energy_eV": state.energy, "pt2_eV": state.pt2, "variance_eV2": state.variance,
        "extrapolated_eV": {"value": value, "standard_error": error},
        "configurations": len(state.rows),
        "steps": [{"configurations": s.n, "energy_eV": s.energy, "pt2_eV": s.pt2} for s in state.steps],
        "occupations": occupations.reshape(-1, 2),
        "double_occupancies": [double_occupancy(state, k) for k in range(m // 2)],
        "electron_weights": electron_weights(state),
        "local_moment": local_moment(state),
        "spin_squared": total_spin_squared(state),
        "largest_weight": float(np.max(np.abs(state.vector) ** 2)),
        "inverse_participation_ratio": float(1.0 / np.sum(np.abs(state.vector) ** 4)),
    }  # fmt: skip


def _spectrum(state: SelectedState, wanted: SpectrumSettings, say: Reporter) -> dict[str, Any]:
    n_orbitals = state.hamiltonian.model.n_impurity // 2
    if not wanted.orbitals or any(not 0 <= k < n_orbitals for k in wanted.orbitals):
        raise ConfigError(f"spectrum.orbitals {wanted.orbitals}: the impurity has orbitals 0 to {n_orbitals - 1}")
    window = (wanted.window_eV[0], wanted.window_eV[1])
    frequencies = np.linspace(window[0], window[1], wanted.points)
    # orbitals that nothing connects have Green's functions of their own, on smaller spaces
    each, parts = 2.0 * wanted.configurations, []
    with say.bar("excited configurations", each * len(wanted.orbitals)) as bar:
        for number, k in enumerate(wanted.orbitals):

            def tell(n: int, before: float = number * each) -> None:
                bar.set(before + min(n, each))

            parts.append(greens_function(
                state, [2 * k], window, wanted.broadening_eV, wanted.configurations, wanted.poles, tell
            ))  # fmt: skip
        bar.set(each * len(wanted.orbitals))
    values, errors, selves, norms, firsts = [], [], [], [], []
    for part in parts:
        value, error = part.spectral_function(frequencies, wanted.broadening_eV)
        values.append(value[:, 0])
        errors.append(error[:, 0])
        selves.append(part.self_energy(frequencies + 1j * wanted.broadening_eV)[:, 0, 0])
        norms.append(part.moment(0)[0, 0].real)
        firsts.append(part.moment(1)[0, 0].real)
    return {
        "orbitals": wanted.orbitals, "frequencies_eV": frequencies, "broadening_eV": wanted.broadening_eV,
        "spectral_function": values, "errors": errors,
        "self_energy_real_eV": [s.real for s in selves], "self_energy_imaginary_eV": [s.imag for s in selves],
        "moment_0": norms, "moment_1_eV": firsts,
        "configurations": [[p.added.n, p.removed.n] for p in parts],
    }  # fmt: skip


def _write_columns(folder: Path, spectrum: dict[str, Any]) -> None:
    """Files of columns that any plotting program reads."""
    x = spectrum["frequencies_eV"]
    for k, orbital in enumerate(spectrum["orbitals"]):
        columns = (x, spectrum["spectral_function"][k], spectrum["errors"][k])
        _write_table(folder / f"spectrum-{orbital}.dat", "energy (eV), spectral function (1/eV), its error", columns)
        columns = (x, spectrum["self_energy_real_eV"][k], spectrum["self_energy_imaginary_eV"][k])
        _write_table(
            folder / f"self-energy-{orbital}.dat",
            "energy (eV), real and imaginary part of the self-energy (eV)",
            columns,
        )


def _write_table(path: Path, title: str, columns: "tuple[np.ndarray, ...]") -> None:
    rows = (" ".join(f"{value:.8g}" for value in row) for row in zip(*columns, strict=True))
    write_text(path, "\n".join([f"# {title}", *rows, ""]))


def _warnings(found: dict[str, Any]) -> list[str]:
    warnings = []
    ground = found["ground_state"]
    weight = np.array(ground["electron_weights"])
    if weight.max() > FROZEN and found["model"]["hybridization_eV2"][0] > 0:
        warnings.append(
            f"the impurity holds {int(weight.argmax())} electrons in 99.9 % of the state: it does not hybridize, or "
            "its level lies far from where it should"
        )
    for k, orbital in enumerate(found.get("spectrum", {}).get("orbitals", [])):
        spectrum = found["spectrum"]
        sigma, peak = np.array(spectrum["self_energy_imaginary_eV"][k]), np.max(spectrum["spectral_function"][k])
        if sigma.max() > NOT_CAUSAL * max(np.abs(sigma).max(), 1e-12):
            warnings.append(f"orbital {orbital}: the self-energy is not causal; more configurations are needed")
        if np.max(spectrum["errors"][k]) > LARGE_ERROR * peak:
            warnings.append(
                f"orbital {orbital}: the second half of the excited space changed the spectrum by "
                f"{100 * np.max(spectrum['errors'][k]) / peak:.1f} % of its peak; take more configurations"
            )
    loop = found.get("dmft")
    if loop is not None and not loop["converged"]:
        warnings.append(
            f"the loop did not converge: Delta changed by {loop['history'][-1]['change_over_D']:.2g} D in the last "
            f"iteration, wanted {loop['tolerance']:g}; raise dmft.iterations and run again"
        )
    return warnings
