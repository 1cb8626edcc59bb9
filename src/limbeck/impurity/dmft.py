"""Dynamical mean-field theory on the Bethe lattice, on the real axis, at zero temperature.

One iteration: lattice Green's function from the self-energy, bath levels from its hybridization, ground state and
spectra of the impurity by selected configurations, and the impurity's self-energy as the next one. What goes round is
the self-energy as a sum of poles (:mod:`limbeck.impurity.pole_sum`), so nothing is broadened inside the loop, nothing
has to be deconvolved, and every self-energy is causal.

Source: A. Georges, G. Kotliar, W. Krauth, M. J. Rozenberg, Rev. Mod. Phys. 68, 13 (1996),
doi:10.1103/RevModPhys.68.13; the loop on the real axis with natural orbitals: arXiv:1402.0807.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Complex, Float
from scipy.optimize import brentq

from limbeck.core.errors import ConfigError
from limbeck.core.progress import Reporter, SilentReporter
from limbeck.impurity.bath import windows
from limbeck.impurity.bethe import Bath, Bethe, bath_of
from limbeck.impurity.excitations import GreensFunction, greens_function
from limbeck.impurity.interaction import half_filled_level
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.operators import product
from limbeck.impurity.orbitals import NaturalOrbitals, mean_field, natural_orbitals
from limbeck.impurity.pole_sum import PoleSum, local_functions, mixed, quasiparticle_weight
from limbeck.impurity.properties import double_occupancy, expectation
from limbeck.impurity.selected_ci import SelectedState, iterated, selected_ci

MERGED = 1e-4
"""Poles of a self-energy closer than this, in units of D, become one."""
GAPPED = 1e-3
"""What stands for the bath spacing in the quasi-particle weight of an insulator, in units of D."""
GROWTH, LEAST_SHARE = 2.0, 1e-4
"""Growth of excited spaces: fewer rounds than for one spectrum alone, at the same quality here."""
N_TRIAL, TRIALS = 400, 2
"""Configurations with which numbers of electrons are compared, and how far around that of the mean field."""


@dataclass(frozen=True)
class Accuracy:
    """How an impurity is solved.

    Attributes:
        configurations: Of the ground state.
        rounds: Natural orbitals made anew.
        round_configurations: Configurations of the calculations that give them.
        excited: Configurations of each excited space.
        poles: Lanczos steps.
        broadening: Half width at which spectra are looked at while the excited spaces grow.
    """

    configurations: int = 2000
    rounds: int = 1
    round_configurations: int = 1000
    excited: int = 4000
    poles: int = 120
    broadening: float = 0.05


@dataclass(frozen=True)
class Problem:
    """Equivalent orbitals on the Bethe lattice.

    Attributes:
        interaction: Tensor over spin orbitals.
        half_bandwidth: D of every orbital.
        sites: Bath levels of each orbital.
        filling: Electrons of a lattice site; ``None``: half filled by symmetry.
        accuracy: How the impurity is solved.
        ground: What finds the ground state of a model in natural orbitals of its mean field; left out: selected
            configurations in iterated natural orbitals.
    """

    interaction: "np.ndarray"
    half_bandwidth: float = 1.0
    sites: int = 31
    filling: float | None = None
    accuracy: Accuracy = field(default_factory=Accuracy)
    ground: Callable[[NaturalOrbitals], SelectedState] | None = None

    @property
    def n_orbitals(self) -> int:
        """Orbitals of a site."""
        return len(self.interaction) // 2

    @property
    def is_half_filled(self) -> bool:
        """Whether symmetry fixes the chemical potential."""
        return self.filling is None or self.filling == self.n_orbitals

    def __post_init__(self) -> None:
        if self.filling is not None and not 0 < self.filling < 2 * self.n_orbitals:
            raise ConfigError(f"filling {self.filling:g}: {self.n_orbitals} orbitals hold 0 to {2 * self.n_orbitals}")
        if self.half_bandwidth <= 0:
            raise ConfigError(f"half_bandwidth must be positive, got {self.half_bandwidth:g}")


@dataclass(frozen=True)
class Solution:
    """An impurity's answer to a bath.

    Attributes:
        green: Local Green's function of the impurity, averaged over spins and equivalent orbitals where it must be.
        self_energy: Its self-energy.
        rough: Self-energy on the excited spaces of half size: the difference is what configurations may still change.
        state: Ground state.
        occupation: Electrons of an orbital and spin.
        double_occupancy: ``<n_up n_down>`` of an orbital.
        configurations: Of the excited spaces with one electron more and one less.
        cpu_s: CPU seconds of ground state and of spectra.
    """

    green: PoleSum
    self_energy: PoleSum
    rough: PoleSum
    state: SelectedState
    occupation: float
    double_occupancy: float
    configurations: tuple[int, int]
    cpu_s: tuple[float, float]


@dataclass(frozen=True)
class Iteration:
    """One turn of the loop.

    Attributes:
        number: From one.
        lattice: Lattice with the self-energy that went in.
        bath: Its bath.
        solution: The impurity's answer.
        following: Lattice with the self-energy that comes out, mixed.
        change: Largest change of Delta between the lattices with the self-energies that went in and came out, in units
            of D, at the broadening.
        cpu_s: CPU seconds.
    """

    number: int
    lattice: Bethe
    bath: Bath
    solution: Solution
    following: Bethe
    change: float
    cpu_s: float

    def quasiparticle_weight(self) -> tuple[float, float]:
        """Z of the impurity's self-energy, and the difference of two ways to it."""
        return weight_of(self.solution.self_energy, self.bath, self.lattice.half_bandwidth)


def weight_of(sigma: PoleSum, bath: Bath, half_bandwidth: float) -> tuple[float, float]:
    """Z of a self-energy that was found with a bath."""
    return quasiparticle_weight(sigma, GAPPED * half_bandwidth if bath.has_gap else bath.spacing)


def metallic(problem: Problem) -> Bethe:
    """The lattice with the static self-energy alone."""
    shift = -half_filled_level(problem.interaction)
    return on_lattice(problem, PoleSum(shift, np.zeros(0), np.zeros(0)), shift)


def insulating(problem: Problem) -> Bethe:
    """The lattice with the self-energy of the half-filled atom: one pole at the Fermi level (Hubbard's first)."""
    shift = -half_filled_level(problem.interaction)
    n = problem.n_orbitals
    direct, exchange = problem.interaction[0, 1, 0, 1], problem.interaction[0, 2, 2, 0] if n > 1 else 0.0
    gap = float(direct + (n - 1) * exchange)  # of the atom with all spins parallel: U + (n - 1) J
    return on_lattice(problem, PoleSum(shift, np.zeros(1), np.array([0.25 * gap**2])), shift)


def on_lattice(problem: Problem, sigma: PoleSum, before: float = 0.0) -> Bethe:
    """The lattice with a self-energy and the chemical potential that its filling asks for.

    Args:
        problem: At half filling it fixes the static self-energy and the chemical potential.
        sigma: Self-energy, of this problem or of one that is like it.
        before: Chemical potential near which the wanted one is looked for.
    """
    if problem.is_half_filled:
        shift = -half_filled_level(problem.interaction)
        return Bethe(problem.half_bandwidth, replace(sigma, static=shift), shift)
    assert problem.filling is not None
    wanted = problem.filling / (2 * problem.n_orbitals)
    lattice = Bethe(problem.half_bandwidth, sigma, before)
    reach = lattice.reach()

    def missing(mu: float) -> float:
        return replace(lattice, chemical_potential=mu).filling() - wanted

    found = brentq(missing, before - reach, before + reach, xtol=1e-8)
    return replace(lattice, chemical_potential=float(found))


def iterate(
    problem: Problem,
    start: Bethe,
    iterations: int = 30,
    tolerance: float = 1e-2,
    mixing: float = 0.7,
    first: int = 1,
    keep: Callable[[Iteration], None] | None = None,
    reporter: Reporter | None = None,
) -> Iteration:
    """Turn the loop until Delta rests.

    Args:
        problem: What is solved.
        start: :func:`metallic`, :func:`insulating`, or the ``following`` of an earlier iteration.
        iterations: The loop ends with this one.
        tolerance: Change of Delta, in units of D, at which it ends.
        mixing: Share of the new self-energy.
        first: Number of the first iteration, more than one for a loop that goes on.
        keep: Called with each iteration, to save it.
        reporter: Shows the progress.

    Returns:
        The last iteration.
    """
    say = reporter or SilentReporter()
    lattice, number = start, first
    with say.bar("iterations", float(iterations)) as bar:
        while True:
            done = step(problem, lattice, mixing, number)
            if keep is not None:
                keep(done)
            z, _ = done.quasiparticle_weight()
            bar.set(float(number), f"change of Delta {done.change:.1e}, Z {z:.4f}")
            if done.change < tolerance or number >= iterations:
                return done
            lattice, number = done.following, number + 1


def step(problem: Problem, lattice: Bethe, mixing: float = 0.7, number: int = 1) -> Iteration:
    """One iteration."""
    started = time.process_time()
    bath = bath_of(lattice, problem.sites, symmetric=problem.is_half_filled)
    solution = solve(problem, bath, lattice.chemical_potential)
    width = MERGED * problem.half_bandwidth
    new = mixed(lattice.self_energy, solution.self_energy, mixing, width)
    following = on_lattice(problem, new, lattice.chemical_potential)
    plain = Bethe(problem.half_bandwidth, solution.self_energy, following.chemical_potential)
    z = np.linspace(-1, 1, 801) * lattice.reach() + 1j * problem.accuracy.broadening
    change = float(np.abs(plain.hybridization(z) - lattice.hybridization(z)).max() / problem.half_bandwidth)
    return Iteration(number, lattice, bath, solution, following, change, time.process_time() - started)


def solve(problem: Problem, bath: Bath, chemical_potential: float) -> Solution:
    """Ground state, Green's function and self-energy of an impurity in a bath, the same for every orbital.

    With an odd number of electrons in all the ground state is a multiplet; functions are averaged over both spins,
    which gives the paramagnetic ones.
    """
    m, how, started = problem.n_orbitals, problem.accuracy, time.process_time()
    model = _model(problem, bath, chemical_potential)
    basis = natural_orbitals(model)
    if problem.ground is None:
        state = iterated(basis, how.rounds, how.round_configurations, how.configurations)
    else:
        state = problem.ground(basis)
    found = time.process_time()
    reach = float(np.abs(bath.energies).max(initial=0.0)) + problem.half_bandwidth
    orbitals = [0] if problem.is_half_filled else range(m)
    # at half filling spin down is the mirror image of spin up, also in one state of a multiplet
    spins = [0] if model.spin_2z == 0 or problem.is_half_filled else [0, 1]
    window = (-reach, reach)
    parts: list[GreensFunction] = [
        greens_function(
            state, [2 * k + s], window, how.broadening, how.excited, how.poles, growth=GROWTH, least_share=LEAST_SHARE
        )
        for k in orbitals
        for s in spins
    ]
    mirror = chemical_potential if problem.is_half_filled else None
    green, sigma = local_functions(parts, mirror)
    _, rough = local_functions(parts, mirror, rough=True)
    numbers = [expectation(state, product(1.0, (a, True), (a, False))).real for a in range(2 * m)]
    doubles = [double_occupancy(state, k) for k in range(m)]
    return Solution(
        green, sigma, rough, state, float(np.mean(numbers)), float(np.mean(doubles)),
        (max(p.added.n for p in parts), max(p.removed.n for p in parts)),
        (found - started, time.process_time() - found),
    )  # fmt: skip


def _model(problem: Problem, bath: Bath, chemical_potential: float) -> ImpurityModel:
    """The impurity's model; off half filling with the number of electrons of the lowest energy."""
    m, n = problem.n_orbitals, len(bath.energies)
    energies, couplings = np.tile(bath.energies, m), np.kron(np.eye(m), bath.couplings)
    levels = -chemical_potential * np.eye(m)

    def with_electrons(count: int) -> ImpurityModel:
        return anderson(levels, energies, couplings, problem.interaction, count, count % 2)

    if problem.is_half_filled:
        return with_electrons(m * (n + 1))
    middle = _mean_field_electrons(problem, bath, chemical_potential)
    whole = 2 * m * (n + 1)
    counts = [c for c in range(middle - TRIALS, middle + TRIALS + 1) if 0 < c < whole]
    trials = [selected_ci(natural_orbitals(with_electrons(c)), N_TRIAL) for c in counts]
    return with_electrons(counts[int(np.argmin([trial.extrapolated[0] for trial in trials]))])


def _mean_field_electrons(problem: Problem, bath: Bath, chemical_potential: float) -> int:
    """Electrons of the Hartree-Fock state with the lowest energy at fixed chemical potential."""
    m, n = problem.n_orbitals, len(bath.energies)
    energies, couplings = np.tile(bath.energies, m), np.kron(np.eye(m), bath.couplings)
    best, lowest = m * (n + 1), np.inf
    below = 2 * m * int(np.sum(bath.energies < 0))
    for count in range(max(1, below - 2 * m), min(below + 4 * m, 2 * m * (n + 1) - 1) + 1):
        model = anderson(-chemical_potential * np.eye(m), energies, couplings, problem.interaction, count, count % 2)
        energy = mean_field(model)[1]
        if energy < lowest:
            best, lowest = count, energy
    return best


def solve_hybridization(
    problem: Problem,
    frequencies: Float[np.ndarray, " n"],
    hybridization: Complex[np.ndarray, " n"],
    chemical_potential: float,
    broadening: float,
) -> tuple[Complex[np.ndarray, " n"], Complex[np.ndarray, " n"], Solution]:
    """For outside loops: a hybridization function in, Green's function and self-energy out.

    Args:
        problem: Interaction, number of bath levels, accuracy; half filled by symmetry unless it has a filling.
        frequencies: Increasing, relative to the Fermi level.
        hybridization: Delta(w) at these; only its imaginary part, not positive, is used.
        chemical_potential: Minus the energy of the impurity's orbitals.
        broadening: Half width of what is returned.

    Returns:
        G and Sigma at ``w + i broadening``, and the solution, which has them everywhere.

    Raises:
        ConfigError: If frequencies do not increase or ``-Im Delta`` is negative somewhere.
    """
    w, weight = np.asarray(frequencies, dtype=float), -np.asarray(hybridization).imag / np.pi
    if w.shape != weight.shape or w.ndim != 1 or np.any(np.diff(w) <= 0):
        raise ConfigError(f"frequencies {w.shape} must increase and have the shape of the hybridization {weight.shape}")
    if np.any(weight < 0):
        raise ConfigError(
            f"-Im Delta must not be negative; it is {np.pi * weight.min():.3g} at {w[weight.argmin()]:.4g}"
        )
    energies, couplings = windows(w, weight, problem.sites)
    kept = couplings**2 > 1e-6 * np.sum(couplings**2)
    spacing = float(w[-1] - w[0]) / problem.sites
    solution = solve(problem, Bath(energies[kept], couplings[kept], spacing, False), chemical_potential)
    z = w + 1j * broadening
    return solution.green(z), solution.self_energy(z), solution
