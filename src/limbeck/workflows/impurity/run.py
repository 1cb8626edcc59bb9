"""Ground state, then spectrum, then files."""

import shlex
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from limbeck import __version__
from limbeck.core.config import load
from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.core.progress import Reporter, SilentReporter
from limbeck.core.record import (
    finished_before,
    hash_of,
    make_folder,
    package_versions,
    to_jsonable,
    write_json,
    write_text,
)
from limbeck.impurity.bases import orbitals_of
from limbeck.impurity.exact import exact_ground
from limbeck.impurity.excitations import GreensFunction, greens_function
from limbeck.impurity.model import anderson
from limbeck.impurity.orbitals import NaturalOrbitals, mean_field
from limbeck.impurity.properties import double_occupancy, electron_weights, local_moment, total_spin_squared
from limbeck.impurity.selected_ci import SelectedState, iterated, selected_ci
from limbeck.report.impurity import write_report
from limbeck.workflows.impurity.build import Built, built
from limbeck.workflows.impurity.config import GroundSettings, ImpuritySettings, SpectrumSettings
from limbeck.workflows.impurity.dmft import run_loop, spectrum_of, write_functions
from limbeck.workflows.impurity.dmrg import described_dmrg, dmrg_ground, dmrg_warnings
from limbeck.workflows.impurity.network import UNFINISHED, described_network, network_ground

RESULTS = "results.json"
NOT_LEARNT = 1e-6
"""Energy of a network above its set's lowest, relative to the energy, that is told of."""
NOT_CAUSAL = 1e-3
"""Positive imaginary part of a self-energy, relative to its largest value, that is told of."""
LARGE_FIT_ERROR = 0.02
"""Relative error of a fitted bath above which a warning is given."""
FROZEN = 0.999
"""Weight of one number of electrons on the impurity above which a warning is given."""
MIXED = 1e-8
"""Element of the density matrix above which two orbitals are of one Green's function."""
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
    # where a file or an interpreter lies makes no difference; what files hold is hashed
    chosen = settings.model_dump(
        mode="json",
        exclude={"bath": {"path"}, "fcidump": {"path"},
                 "ground_state": {"dmrg": {"python", "memory_GB"}, "network": {"start"}}},
    )  # fmt: skip
    key = hash_of([__version__, chosen, _hashes(settings)])
    if (before := finished_before(folder / RESULTS, key)) is not None:
        say.message(f"{folder}: is finished.")
        return dict(before)
    make_folder(folder)
    if settings.dmft is not None:
        return _run_dmft(settings, folder, key, say)
    started, made = time.process_time(), built(settings)
    model, ground = made.model, settings.ground_state
    field = mean_field(model)
    basis = orbitals_of(model, ground.basis, field[0])
    say.message(
        f"{model.n_spin_orbitals // 2} orbitals, {model.n_electrons} electrons; active space: "
        f"{int(basis.is_active.sum()) // 2} orbitals with {basis.n_active} electrons"
    )
    extra: dict[str, Any] = {}
    if ground.method == "network":
        trained = network_ground(basis, ground, folder, say, key)
        state, extra["network"] = trained.state, described_network(trained)
    elif ground.method == "dmrg":
        swept = dmrg_ground(basis, ground, say)
        state, extra["dmrg"] = swept.state, described_dmrg(swept)
    else:
        state = _ground(basis, ground, say)
    found = _head(settings, key, made) | {
        "mean_field_energy_eV": field[1], "ground_state": _described(state), **extra,
    }  # fmt: skip
    others = extra["dmrg"]["cpu_s"] if "dmrg" in extra else 0.0
    found["ground_state"]["cpu_s"] = time.process_time() - started + others
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
    found = _head(settings, key, Built(given)) | {
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


def _head(settings: ImpuritySettings, key: str, made: Built) -> dict[str, Any]:
    return {
        "name": settings.name, "title": settings.title or settings.name, "key": key,
        "command": shlex.join(["limbeck", *sys.argv[1:]]), "version": __version__, "versions": package_versions(),
        "settings": settings.model_dump(mode="json"), "model": _described_model(made),
    }  # fmt: skip


def _finished(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    found["warnings"] = _warnings(found)
    plain: dict[str, Any] = to_jsonable(found)
    write_report(folder, plain)
    write_json(folder / RESULTS, plain)
    (folder / UNFINISHED).unlink(missing_ok=True)
    return plain


def _hashes(settings: ImpuritySettings) -> list[str]:
    """Contents of the files that the model is made of."""
    missing = [path for path in settings.files() if not path.is_file()]
    if missing:
        raise MissingFileError(f"{missing[0]}: no such file")
    return [sha256(path.read_bytes()).hexdigest() for path in settings.files()]


def _ground(basis: NaturalOrbitals, wanted: GroundSettings, say: Reporter) -> SelectedState:
    if wanted.method == "exact":
        return exact_ground(basis)
    if wanted.basis != "natural":
        return selected_ci(basis, wanted.configurations, reporter=say)
    return iterated(basis, wanted.rounds, wanted.round_configurations, wanted.configurations, say)


def _described_model(made: Built) -> dict[str, Any]:
    model, m = made.model, made.model.n_impurity // 2
    h = model.one_body[0::2, 0::2]
    energies, couplings = np.diag(h)[m:].real, h[:m, m:]
    if np.count_nonzero(h[m:, m:] - np.diag(np.diag(h)[m:])):
        energies, turn = np.linalg.eigh(h[m:, m:])
        couplings = couplings @ turn
    found = {
        "orbitals": m, "bath_levels": len(energies), "electrons": model.n_electrons,
        "levels_eV": np.diag(h)[:m].real,
        "bath_energies_eV": energies, "couplings_eV": couplings.real,
        "hybridization_eV2": np.sum(np.abs(couplings) ** 2, axis=1),
    }  # fmt: skip
    if np.any(couplings.imag):
        found["couplings_imaginary_eV"] = couplings.imag
    return found | made.origin


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
    groups = _connected(state, wanted.orbitals)
    each, parts = 2.0 * wanted.configurations, dict[int, tuple[GreensFunction, int]]()
    with say.bar("excited configurations", each * len(groups)) as bar:
        for number, group in enumerate(groups):

            def tell(n: int, before: float = number * each) -> None:
                bar.set(before + min(n, each))

            part = greens_function(
                state, [2 * k for k in group], window, wanted.broadening_eV, wanted.configurations, wanted.poles, tell
            )
            parts.update({k: (part, place) for place, k in enumerate(group)})
        bar.set(each * len(groups))
    values, errors, selves, norms, firsts = [], [], [], [], []
    for part, k in (parts[orbital] for orbital in wanted.orbitals):
        value, error = part.spectral_function(frequencies, wanted.broadening_eV)
        values.append(value[:, k])
        errors.append(error[:, k])
        selves.append(part.self_energy(frequencies + 1j * wanted.broadening_eV)[:, k, k])
        norms.append(part.moment(0)[k, k].real)
        firsts.append(part.moment(1)[k, k].real)
    return {
        "orbitals": wanted.orbitals, "frequencies_eV": frequencies, "broadening_eV": wanted.broadening_eV,
        "spectral_function": values, "errors": errors,
        "self_energy_real_eV": [s.real for s in selves], "self_energy_imaginary_eV": [s.imag for s in selves],
        "moment_0": norms, "moment_1_eV": firsts,
        "configurations": [[p.added.n, p.removed.n] for p, _ in (parts[k] for k in wanted.orbitals)],
    }  # fmt: skip


def _connected(state: SelectedState, orbitals: list[int]) -> list[list[int]]:
    """All orbitals whose Green's functions mix with those wanted, by what h or the density connects."""
    model = state.hamiltonian.model
    m = model.n_impurity
    linked = np.abs(model.one_body[0::2, 0::2]) > 0
    linked[: m // 2, : m // 2] |= np.abs(state.density()[0:m:2, 0:m:2]) > MIXED
    _, label = connected_components(linked, directed=False)
    wanted = dict.fromkeys(label[orbitals].tolist())
    return [np.flatnonzero(label[: m // 2] == part).tolist() for part in wanted]


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
    if "network" in found:
        above = ground["energy_eV"] - found["network"]["set_energy_eV"]
        if above > max(abs(ground["pt2_eV"]), NOT_LEARNT * abs(ground["energy_eV"])):
            warnings.append(
                f"the network lies {above:.2g} eV above the lowest energy on its own set: raise "
                "ground_state.network.steps or its sizes, take another seed, or 'method: selected'"
            )
    if "dmrg" in found:
        warnings += dmrg_warnings(found["dmrg"])
    weight = np.array(ground["electron_weights"])
    if weight.max() > FROZEN and found["model"]["hybridization_eV2"][0] > 0:
        warnings.append(
            f"the impurity holds {int(weight.argmax())} electrons in 99.9 % of the state: it does not hybridize, or "
            "its level lies far from where it should"
        )
    fit = found["model"].get("bath_fit")
    if fit and max(fit["error"], fit["error_green"]) > LARGE_FIT_ERROR:
        warnings.append(
            f"the bath misses the hybridization function by {100 * fit['error']:.1f} % and G0 by "
            f"{100 * fit['error_green']:.1f} %; take more sites"
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
