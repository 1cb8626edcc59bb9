"""Files of other programs: closed forms of chains, round trips, energies by dense matrices, malformed files."""

import numpy as np
import pytest

from limbeck.core.errors import ConfigError, MissingFileError
from limbeck.impurity.bath import hybridization_function
from limbeck.impurity.bath_fit import fit_matsubara
from limbeck.impurity.fcidump import read_fcidump, write_fcidump
from limbeck.impurity.formats import read_hybridization, read_table, read_wannier90
from limbeck.impurity.interaction import density_density, kanamori, real_harmonics, rotated, slater
from limbeck.impurity.lattice import bloch, local_hamiltonian, local_hybridization, matsubara, mesh
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.operators import entries, one_body, product
from limbeck.impurity.subspace import Hamiltonian, all_configurations


def dense(n, operator):
    """Matrix of an operator; its parts are tested against Kronecker products in test_interaction.py."""
    source, target, value = entries(n, operator)
    matrix = np.zeros((2**n, 2**n), complex)
    matrix[target, source] = value
    return matrix


def write_hr(path, hoppings, degeneracies=None):
    """A file as Wannier90 writes it, of hoppings by R."""
    n = len(next(iter(hoppings.values())))
    weights = degeneracies or dict.fromkeys(hoppings, 1)
    lines = [" written on 1Jan2026", f"{n:12d}", f"{len(hoppings):12d}"]
    numbers = [weights[r] for r in hoppings]
    lines += ["".join(f"{x:5d}" for x in numbers[k : k + 15]) for k in range(0, len(numbers), 15)]
    for r, h in hoppings.items():
        for b in range(n):
            for a in range(n):
                x = complex(h[a][b]) * weights[r]
                lines.append(f"{r[0]:5d}{r[1]:5d}{r[2]:5d}{a + 1:5d}{b + 1:5d}{x.real:20.14f}{x.imag:20.14f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def chain(t, level=0.0, phase=1.0):
    return {(-1, 0, 0): [[t * np.conj(phase)]], (0, 0, 0): [[level]], (1, 0, 0): [[t * phase]]}


Z = 1j * np.array([0.3, 0.7, 1.5, 4.0])


@pytest.mark.parametrize("phase", [1.0, np.exp(0.4j)])
def test_an_infinite_chain_has_two_half_chains_for_a_bath(tmp_path, phase):
    """``Delta = z - sqrt(z^2 - 4 t^2)``, whatever the gauge; weights of R are divided out."""
    t, level = 0.5, 0.3
    weights = {(-1, 0, 0): 2, (0, 0, 0): 1, (1, 0, 0): 2}
    lattice = read_wannier90(write_hr(tmp_path / "hr.dat", chain(t, level, phase), weights))
    points = mesh((200, 1, 1))
    assert local_hamiltonian(lattice, np.array([0]), points, 0.1)[0, 0] == pytest.approx(level - 0.1)
    found = local_hybridization(lattice, np.array([0]), Z, points, level)[:, 0, 0]  # the Fermi energy at the level
    root = np.sqrt(Z * Z - 4 * t * t + 0j)
    root = np.where(root.imag * Z.imag > 0, root, -root)
    np.testing.assert_allclose(found, Z - root, atol=1e-10)


def test_an_orbital_at_the_end_of_a_long_chain_sees_the_semicircle(tmp_path):
    """``Delta = V^2 (z - sqrt(z^2 - 4 t^2)) / 2 t^2``; all other orbitals are integrated out."""
    n, t, v = 120, 0.5, 0.4
    h = np.diag(np.full(n - 1, t), 1)
    h[0, 1] = v
    h = h + h.T
    h[0, 0] = -0.7
    lattice = read_wannier90(write_hr(tmp_path / "hr.dat", {(0, 0, 0): h}))
    found = local_hybridization(lattice, np.array([0]), Z, mesh((1, 1, 1)))[:, 0, 0]
    root = np.sqrt(Z * Z - 4 * t * t + 0j)
    root = np.where(root.imag * Z.imag > 0, root, -root)
    np.testing.assert_allclose(found, v * v * (Z - root) / (2 * t * t), atol=1e-10)
    assert local_hamiltonian(lattice, np.array([0]), mesh((1, 1, 1)))[0, 0] == pytest.approx(-0.7)


def test_two_correlated_orbitals_of_a_complex_lattice(tmp_path):
    """Against the inverse of each H_k, in an order of one's own; and a bath that is fitted to it."""
    rng = np.random.default_rng(3)
    hoppings = {}
    for r in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]:
        h = 0.4 * (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)))
        if r == (0, 0, 0):
            h = h + h.conj().T
        hoppings[r] = h
        hoppings[tuple(-x for x in r)] = h.conj().T
    lattice = read_wannier90(write_hr(tmp_path / "hr.dat", hoppings))
    points, chosen = mesh((6, 5, 1)), np.array([2, 0])
    h = sum(np.exp(2j * np.pi * points @ np.array(r))[:, None, None] * x for r, x in hoppings.items())
    np.testing.assert_allclose(bloch(lattice, points), h, atol=1e-12)
    w = matsubara(2000.0, 8.0)
    z = 1j * w
    green = np.array([np.linalg.inv((x + 0.2) * np.eye(3) - h).mean(axis=0) for x in z])[:, chosen][:, :, chosen]
    levels = local_hamiltonian(lattice, chosen, points, 0.2)
    np.testing.assert_allclose(levels, h.mean(axis=0)[np.ix_(chosen, chosen)] - 0.2 * np.eye(2), atol=1e-12)
    found = local_hybridization(lattice, chosen, z, points, 0.2)
    np.testing.assert_allclose(found, z[:, None, None] * np.eye(2) - levels - np.linalg.inv(green), atol=1e-9)
    fit = fit_matsubara(w, found, 4, levels=levels)
    assert fit.error < 1e-3
    assert fit.error_green < 1e-3
    with pytest.raises(ConfigError, match="each once, of 0 to 2"):
        local_hamiltonian(lattice, np.array([3]), points)


def test_matsubara_frequencies_are_odd_multiples():
    w = matsubara(300.0, 20.0)
    steps = w / w[0]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert np.all(np.round(steps).astype(int) % 2 == 1)
    assert w[0] == pytest.approx(np.pi * 8.617333e-5 * 300, rel=1e-5)
    assert len(w) <= 200
    assert w[-1] == pytest.approx(20.0, rel=0.02)


HR = "comment\n1\n3\n1 1 1\n-1 0 0 1 1 0.5 0\n0 0 0 1 1 0.0 0\n1 0 0 1 1 0.5 0\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("1 0 0 1 1 0.5 0\n", "1 0 0 1 1 0.4 0\n", "not Hermitian"),
        ("1 0 0 1 1 0.5 0\n", "", r"2 rows of hoppings, expected 3 x 1 x 1"),
        ("1 0 0 1 1 0.5 0\n", "2 0 0 1 1 0.5 0\n", "-R is not"),
        ("0 0 0 1 1 0.0 0", "0 0 0 1 2 0.0 0", "line 6: 2 is out of range"),
        ("0 0 0 1 1 0.0 0", "0 0 0 1 1 0.0", "line 6: 6 columns"),
        ("0 0 0 1 1 0.0 0", "0 0 0 1 1 zero 0", "line 6: 'zero' is not a number"),
        ("0 0 0 1 1 0.0 0", "0 0 0 1 1 nan 0", "line 6: 'nan' is not finite"),
        ("0 0 0 1 1 0.0 0", "-1 0 0 1 1 0.0 0", "line 6: the element 1 1 of R"),
        ("1 1 1\n", "1 1\n", "line 5: '0.5' is not a whole number|out of range"),
        ("comment\n1\n", "comment\none\n", "line 2: 'one'"),
    ],
)
def test_a_malformed_hr_file_is_told_with_its_line(tmp_path, old, new, told):
    path = tmp_path / "hr.dat"
    head, middle, tail = HR.rpartition(old)
    assert middle
    path.write_text(head + new + tail)
    with pytest.raises(ConfigError, match=told):
        read_wannier90(path)
    with pytest.raises(MissingFileError):
        read_wannier90(tmp_path / "none.dat")


def test_columns_of_a_hybridization_come_back(tmp_path):
    rng = np.random.default_rng(1)
    w = np.arange(1.0, 6.0)
    delta = hybridization_function(1j * w, rng.normal(size=3), rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)))
    flat = delta.reshape(5, -1)
    table = np.column_stack([w, *(part for c in flat.T for part in (c.real, c.imag))])
    np.savetxt(tmp_path / "delta.dat", table, header="w and elements")
    x, found = read_hybridization(tmp_path / "delta.dat")
    np.testing.assert_allclose(x, w)
    np.testing.assert_allclose(found, delta, atol=1e-12)
    for text, told in (
        ("1 2 3\n2 3\n", "line 2: 2 columns"),
        ("1 2 3\n2 x 3\n", "line 2: 'x'"),
        ("# only words\n", "no numbers"),
        ("1 2 3 4\n2 3 4 5\n", "4 columns; expected the frequency"),
        ("1 2 3\n1 2 3\n2 2 3\n", "must increase"),
    ):
        (tmp_path / "bad.dat").write_text(text)
        with pytest.raises(ConfigError, match=told):
            read_hybridization(tmp_path / "bad.dat")
    (tmp_path / "fortran.dat").write_text("1.0D0 -2.5d-1 # a comment\n")
    assert read_table(tmp_path / "fortran.dat").tolist() == [[1.0, -0.25]]


def random_integrals(rng, n, interacting, *, is_complex):
    """h and (ij|kl) with the symmetries that they must have."""
    h = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if is_complex else 0.0)
    factors = rng.normal(size=(3, n, n)) + (1j * rng.normal(size=(3, n, n)) if is_complex else 0.0)
    factors = 0.5 * (factors + factors.conj().transpose(0, 2, 1))
    eri = np.einsum("xij,xkl->ijkl", factors, factors)
    keep = np.isin(np.arange(n), interacting)
    return 0.5 * (h + h.conj().T), eri * np.einsum("i,j,k,l->ijkl", keep, keep, keep, keep)


def dump(path, h, eri, electrons, spin, constant, *, is_complex):
    """A file written by the definition, every integral of it."""
    n = len(h)
    lines = [f" &FCI NORB= {n},NELEC={electrons},MS2={spin},", f"  ORBSYM={'1,' * n}", "  ISYM=1", " &END"]

    def text(x):
        return f"({x.real:.16e},{x.imag:.16e})" if is_complex else f"{x.real:.16e}"

    for i, j, k, m in np.argwhere(np.abs(eri) > 0):
        lines.append(f"{text(eri[i, j, k, m])} {i + 1} {j + 1} {k + 1} {m + 1}")
    for i, j in np.argwhere(np.abs(h) > 0):
        lines.append(f"{text(h[i, j])} {i + 1} {j + 1} 0 0")
    for i in range(n):
        lines.append(f"{text(h[i, i])} {i + 1} 0 0 0")
    path.write_text("\n".join([*lines, f"{text(constant + 0j)} 0 0 0 0", ""]))
    return path


def dense_energies(h, eri, electrons, spin):
    """Energies by Fock-space matrices of ladder operators, straight from the definition."""
    n = len(h)
    lower = [dense(2 * n, product(1.0, (s, False))) for s in range(2 * n)]
    whole = dense(2 * n, one_body(np.kron(h, np.eye(2))))
    for i, j, k, m in np.argwhere(np.abs(eri) > 0):
        for s in range(2):
            for t in range(2):
                a, b, c, d = (lower[2 * x + y] for x, y in ((i, s), (k, t), (m, t), (j, s)))
                whole = whole + 0.5 * eri[i, j, k, m] * (a.conj().T @ b.conj().T @ c @ d)
    chosen = [
        p for p in range(4**n)
        if bin(p).count("1") == electrons and sum((1 - 2 * (q % 2)) * (p >> q & 1) for q in range(2 * n)) == spin
    ]  # fmt: skip
    return np.linalg.eigvalsh(whole[np.ix_(chosen, chosen)])


@pytest.mark.parametrize("is_complex", [False, True])
def test_energies_of_a_dump_are_those_of_its_definition(tmp_path, is_complex):
    h, eri = random_integrals(np.random.default_rng(8), 3, [0, 2], is_complex=is_complex)
    path = dump(tmp_path / "FCIDUMP", h, eri, 3, 1, 0.7, is_complex=is_complex)
    for chosen in (None, [2, 0]):
        found = read_fcidump(path, chosen)
        assert found.constant == pytest.approx(0.7)
        assert found.orbitals.tolist() == ([0, 2, 1] if chosen is None else [2, 0, 1])
        matrix = Hamiltonian.of(found.model).matrix(all_configurations(found.model)).toarray()
        np.testing.assert_allclose(np.linalg.eigvalsh(matrix), dense_energies(h, eri, 3, 1), atol=1e-9)
        assert found.model.is_complex == is_complex


def one_shell(tensor, *, is_complex=False):
    rng = np.random.default_rng(4)
    m = len(tensor) // 2
    levels = rng.normal(size=(m, m)) + (1j * rng.normal(size=(m, m)) if is_complex else 0.0)
    return anderson(
        0.5 * (levels + levels.conj().T), np.array([-0.5, 0.5]), rng.normal(size=(m, 2)), tensor, m + 2, m % 2
    )


@pytest.mark.parametrize(
    "model",
    [
        one_shell(kanamori(3, 2.0, 0.4)),
        one_shell(slater(1, {0: 3.0, 2: 1.7})),  # real, but over complex harmonics: fourfold symmetry
        one_shell(rotated(slater(1, {0: 3.0, 2: 1.7}), np.kron(real_harmonics(1), np.eye(2))), is_complex=True),
    ],
)
def test_a_model_comes_back_from_its_file(tmp_path, model):
    write_fcidump(tmp_path / "FCIDUMP", model, 1.25)
    found = read_fcidump(tmp_path / "FCIDUMP")
    assert found.constant == 1.25
    assert (found.model.n_electrons, found.model.spin_2z) == (model.n_electrons, model.spin_2z)
    np.testing.assert_allclose(found.model.one_body, model.one_body, atol=1e-12)
    np.testing.assert_allclose(found.model.interaction, model.interaction, atol=1e-12)
    write_fcidump(tmp_path / "again", found.model, 1.25)
    assert (tmp_path / "again").read_text() == (tmp_path / "FCIDUMP").read_text()


def test_each_integral_is_written_once(tmp_path):
    write_fcidump(tmp_path / "FCIDUMP", one_shell(kanamori(2, 2.0, 0.4)))
    rows = [line.split() for line in (tmp_path / "FCIDUMP").read_text().splitlines()[4:]]
    two = {tuple(int(x) for x in row[1:]): float(row[0]) for row in rows if row[4] != "0"}
    assert two == pytest.approx({(1, 1, 1, 1): 2.0, (2, 2, 2, 2): 2.0, (1, 1, 2, 2): 1.2, (1, 2, 1, 2): 0.4})


def test_what_one_set_of_integrals_cannot_say_is_refused(tmp_path):
    spins = one_shell(kanamori(1, 2.0)).one_body.copy()
    spins[0, 0] += 0.3
    for model in (one_shell(density_density(2, 2.0, 0.4)), ImpurityModel(spins, kanamori(1, 2.0), 3, 1)):
        with pytest.raises(ConfigError, match="depends on the spin"):
            write_fcidump(tmp_path / "FCIDUMP", model)
    write_fcidump(tmp_path / "FCIDUMP", one_shell(density_density(2, 2.0, 0.0)))  # this it can


HEAD = "&FCI NORB=2,NELEC=2,MS2=0,\n ORBSYM=1,1,\n ISYM=1,\n&END\n"
DUMP = HEAD + " 2.0 1 1 1 1\n 0.5 1 2 0 0\n -1.0 1 1 0 0\n 0.0 0 0 0 0\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("&FCI", "FCI", "line 1: a FCIDUMP file begins"),
        ("&END\n", "\n", "has no end"),
        ("NORB=2,", "", "NORB is not in the namelist"),
        ("ISYM=1,", "ISYM=1,IUHF=1,", "IUHF is set"),
        ("0.5 1 2 0 0", "0.5 1 3 0 0", "line 6: 3 is out of range"),
        ("0.5 1 2 0 0", "0.5 1 2 0", "line 6: expected a value and four"),
        ("0.5 1 2 0 0", "half 1 2 0 0", "line 6: 'half' is not a number"),
        ("0.5 1 2 0 0", "0.5 1 2 1 0", "line 6: the indices 1 2 1 0 mean nothing"),
        ("0.5 1 2 0 0", "0.5 1 2 0 0\n 0.6 2 1 0 0", "line 7: this integral is"),
        ("0.5 1 2 0 0", "0.5 1 2 1 1\n 0.6 2 1 1 1", "line 7: this integral is"),
        ("NELEC=2", "NELEC=9", "9 electrons do not fit"),
        (" 2.0 1 1 1 1\n", "", "no two-body integral"),
    ],
)
def test_a_malformed_dump_is_told_with_its_line(tmp_path, old, new, told):
    path = tmp_path / "FCIDUMP"
    assert old in DUMP
    path.write_text(DUMP.replace(old, new))
    with pytest.raises(ConfigError, match=told):
        read_fcidump(path)


def test_an_interaction_in_the_bath_is_refused(tmp_path):
    path = tmp_path / "FCIDUMP"
    path.write_text(DUMP.replace(" 0.5 1 2 0 0", " 0.5 1 2 0 0\n 0.3 1 1 2 2"))
    assert read_fcidump(path).model.n_impurity == 4
    with pytest.raises(ConfigError, match=r"line 7: orbital 2 interacts \(0.3\)"):
        read_fcidump(path, [0])
    with pytest.raises(ConfigError, match="each once, of 0 to 1"):
        read_fcidump(path, [0, 2])
