"""``limbeck impurity`` on models from files: fits, a lattice, FCIDUMP, exact and other bases."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from limbeck.cli import app
from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.core.units import HARTREE
from limbeck.impurity.bath import hybridization_function, semicircle
from limbeck.impurity.fcidump import write_fcidump
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import anderson
from limbeck.workflows.impurity.build import bath_of, built
from limbeck.workflows.impurity.run import read_settings

HEAD = "name: small\ninteraction: {kind: kanamori, U_eV: 2.0}\nspectrum: null\n"
W = (2 * np.arange(120) + 1) * np.pi / 40


def written(tmp_path, text):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return path


def write_delta(path, x, delta):
    flat = delta.reshape(len(x), -1)
    np.savetxt(path, np.column_stack([x, *(part for c in flat.T for part in (c.real, c.imag))]), fmt="%.16e")


def run(tmp_path, text):
    """Results of the command, and what it said."""
    out = tmp_path / "out"
    said = CliRunner().invoke(app, ["impurity", str(written(tmp_path, text)), "-o", str(out)])
    if said.exception is not None and not isinstance(said.exception, SystemExit):
        raise said.exception
    assert said.exit_code == 0, said.output
    return json.loads((out / "results.json").read_text()), said.output


def test_a_bath_on_the_imaginary_axis_gives_back_the_energy_of_its_levels(tmp_path):
    """Seven levels, fitted by seven, solved whole: the energy known for them."""
    write_delta(tmp_path / "delta.dat", W, hybridization_function(1j * W, *semicircle(7)))
    found, said = run(
        tmp_path, HEAD + "bath: {kind: matsubara, path: delta.dat, sites: 7}\nground_state: {method: exact}\n"
    )
    assert found["ground_state"]["energy_eV"] == pytest.approx(-4.71485072, abs=1e-5)
    assert found["ground_state"]["configurations"] == 4900
    assert found["model"]["bath_fit"]["error"] < 1e-8
    assert "bath fitted: Delta within" in said
    assert "error of the fitted" in (tmp_path / "out" / "report.html").read_text()


def test_a_tolerance_chooses_the_number_of_levels(tmp_path):
    write_delta(tmp_path / "delta.dat", W, hybridization_function(1j * W, *semicircle(601)))
    settings = read_settings(written(tmp_path, HEAD + "bath: {kind: matsubara, path: delta.dat, tolerance: 1e-3}\n"))
    found = built(settings)
    errors = [row["error"] for row in found.origin["bath_fit"]["tried"]]
    assert len(errors) == len(bath_of(settings)[0])
    assert errors[-1] <= 1e-3 < min(errors[:-1])


def test_complex_off_diagonal_baths_come_from_both_axes(tmp_path):
    """Two orbitals; on the real axis windows keep the total weight as a matrix."""
    rng = np.random.default_rng(6)
    energies, v = np.array([-1.0, -0.3, 0.4, 1.1]), 0.4 * (rng.normal(size=(2, 4)) + 1j * rng.normal(size=(2, 4)))
    write_delta(tmp_path / "iw.dat", W, hybridization_function(1j * W, energies, v))
    two = HEAD + "orbitals: 2\n"
    e, c = bath_of(read_settings(written(tmp_path, two + "bath: {kind: matsubara, path: iw.dat, sites: 2}\n")))
    np.testing.assert_allclose(e, energies, atol=1e-6)
    np.testing.assert_allclose(c @ c.conj().T, v @ v.conj().T, atol=1e-6)
    x = np.linspace(-8, 8, 6001)
    write_delta(tmp_path / "w.dat", x, hybridization_function(x + 0.02j, energies, v))
    for kind in ("equal", "weight", "logarithmic"):
        text = two + f"bath: {{kind: file, path: w.dat, sites: 8, windows: {kind}}}\n"
        e, c = bath_of(read_settings(written(tmp_path, text)))
        assert len(e) == 16
        np.testing.assert_allclose(c @ c.conj().T, v @ v.conj().T, atol=5e-3 * np.abs(v).max() ** 2)
    # one column for all orbitals
    write_delta(tmp_path / "one.dat", W, hybridization_function(1j * W, *semicircle(3)))
    e, c = bath_of(read_settings(written(tmp_path, two + "bath: {kind: matsubara, path: one.dat, sites: 3}\n")))
    assert len(e) == 6
    np.testing.assert_allclose(c @ c.conj().T, 0.25 * np.eye(2), atol=1e-6)


def lattice_file(tmp_path, n_cells=4):
    """A d orbital in each cell of a chain of s orbitals."""
    e_d, v, t = -0.4, 0.5, 0.6
    h = {(0, 0, 0): [[e_d, v], [v, 0.2]], (1, 0, 0): [[0, 0], [0, t]], (-1, 0, 0): [[0, 0], [0, t]]}
    rows = [
        f"{r[0]} {r[1]} {r[2]} {a + 1} {b + 1} {x[a][b]:.12f} 0.0"
        for r, x in h.items() for a in range(2) for b in range(2)
    ]  # fmt: skip
    (tmp_path / "hr.dat").write_text("\n".join(["made by a test", "2", "3", "1 1 1", *rows, ""]))
    k = 2 * np.pi * np.arange(n_cells) / n_cells
    return [np.linalg.eigvalsh([[e_d, v], [v, 0.2 + 2 * t * np.cos(x)]]) for x in k]


def test_a_lattice_without_interaction_keeps_its_occupation(tmp_path):
    """Occupation of d over k, of the lattice and of the impurity that stands for it, filled to the Fermi level."""
    lattice_file(tmp_path)
    text = "bath: {kind: wannier90, path: hr.dat, correlated: [0], mesh: [64, 1, 1], tolerance: 1e-4, most_sites: 10}\n"
    free = HEAD.replace("U_eV: 2.0", "U_eV: 0.0") + text + "level_eV: 0.0\n"
    found, _ = run(tmp_path, free)
    k = 2 * np.pi * np.arange(64) / 64
    truth = 0.0
    for x in k:
        values, vectors = np.linalg.eigh([[-0.4, 0.5], [0.5, 0.2 + 1.2 * np.cos(x)]])
        truth += np.sum(np.abs(vectors[0, values < 0]) ** 2) / len(k)
    assert found["model"]["levels_eV"] == pytest.approx([-0.4], abs=1e-9)
    assert found["model"]["electrons"] % 2 == 0
    assert found["ground_state"]["occupations"][0][0] == pytest.approx(truth, abs=0.03)
    shifted = read_settings(written(tmp_path, HEAD + text))
    assert built(shifted).model.one_body[0, 0] == pytest.approx(-0.4 - 1.0)  # and the level of half filling


def test_a_dump_is_solved_in_electronvolt(tmp_path):
    energies, couplings = semicircle(7)
    model = anderson(np.array([[-1.0]]), energies, couplings, kanamori(1, 2.0), 8)
    write_fcidump(tmp_path / "FCIDUMP", model, 0.5)
    head = "name: dump\nspectrum: null\nground_state: {method: exact}\n"
    found, said = run(tmp_path, head + "fcidump: {path: FCIDUMP, unit: eV}\n")
    assert found["ground_state"]["energy_eV"] == pytest.approx(-4.71485072, abs=1e-7)
    assert found["model"]["constant_eV"] == 0.5
    assert found["model"]["bath_energies_eV"] == pytest.approx(energies.tolist())
    assert "without the constant 0.50000000 eV" in said
    settings = read_settings(written(tmp_path, head + "fcidump: {path: FCIDUMP, correlated: [0]}\n"))
    np.testing.assert_allclose(built(settings).model.one_body, HARTREE * model.one_body, atol=1e-12)


def test_the_same_energy_in_every_basis_and_self_energies_as_matrices(tmp_path):
    """Two orbitals that share their bath; Sigma from the matrix of both agrees with Dyson's equation."""
    text = (
        "name: two\norbitals: 2\ninteraction: {kind: kanamori, U_eV: 2.0, J_eV: 0.3}\nelectrons: 4\n"
        "bath: {kind: levels, energies_eV: [-0.8, 0.9], couplings_eV: [[0.5, 0.4], [0.2, -0.3]]}\n"
        "level_eV: [-1.2, -0.9]\n"
    )
    spectrum = "spectrum: {orbitals: [0, 1], window_eV: [-4.0, 4.0], points: 41, broadening_eV: 0.3, poles: 400}\n"
    energies = []
    for basis in ("natural", "star", "chain"):
        whole = f"ground_state: {{method: exact, basis: {basis}}}\n"
        found, _ = run(tmp_path, text + whole + (spectrum if basis == "star" else "spectrum: null\n"))
        energies.append(found["ground_state"]["energy_eV"])
        if basis == "star":
            parts = found["spectrum"]
    assert energies == pytest.approx([energies[0]] * 3, abs=1e-9)
    assert parts["moment_0"] == pytest.approx([1.0, 1.0], abs=1e-9)
    assert np.max(parts["self_energy_imaginary_eV"]) < 1e-9
    assert parts["configurations"][0] == parts["configurations"][1]


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("bath: {kind: matsubara, path: none.dat, sites: 2}", MissingFileError, "none.dat"),
        ("bath: {kind: matsubara, path: delta.dat}", ConfigError, "either sites or tolerance"),
        ("bath: {kind: matsubara, path: delta.dat, sites: 2, tolerance: 0.1}", ConfigError, "either sites or"),
        ("bath: {kind: matsubara, path: delta.dat, sites: 2}", ConfigError, "both must be even, or both odd"),
        ("bath: {kind: matsubara, path: delta.dat, tolerance: 1e-9, most_sites: 2}", ConfigError, "up to 2 levels"),
        ("orbitals: 3\nbath: {kind: matsubara, path: two.dat, sites: 2}", ConfigError, "expected 3 or 19 columns"),
        ("bath: {kind: wannier90, path: hr.dat, correlated: [0, 1], mesh: [4, 1, 1], sites: 2}", ConfigError,
         "names 2 orbitals"),
        ("bath: {kind: wannier90, path: hr.dat, correlated: [2], mesh: [4, 1, 1], sites: 2}", ConfigError,
         "of 0 to 1"),
        ("bath: {kind: semicircle, sites: 31}\nground_state: {method: exact}", ConfigError, "more than 1000000"),
        ("", ConfigError, "bath must be given"),
        ("fcidump: {path: FCIDUMP}", ConfigError, "leave out interaction"),
        ("bath: {kind: file, path: two.dat, sites: 2, windows: round}", ConfigError, "windows"),
    ],
)  # fmt: skip
def test_mistakes_are_one_clear_error(tmp_path, text, kind, told):
    write_delta(tmp_path / "delta.dat", W, hybridization_function(1j * W, *semicircle(9)))
    write_delta(tmp_path / "two.dat", W, hybridization_function(1j * W, np.array([0.1]), np.array([[0.3], [0.2]])))
    lattice_file(tmp_path)
    with pytest.raises(kind, match=told):
        run(tmp_path, HEAD + text + "\n")


def test_keys_are_explained():
    said = CliRunner().invoke(app, ["keys", "--of", "impurity"])
    assert said.exit_code == 0, said.output
    for key in ("matsubara", "wannier90", "fermi_energy_eV", "correlated", "fcidump", "method", "basis"):
        assert key in said.output
