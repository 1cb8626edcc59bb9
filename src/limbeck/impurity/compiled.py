"""Kernels compiled ahead of the first use: small models that call each of them with every kind of argument.

numba compiles a function at its first call with each combination of argument types and keeps the machine code beside
the source (or in ``NUMBA_CACHE_DIR``, or in a folder of the user where neither can be written). :func:`compile_kernels`
makes these first calls, real and complex, so that no later process has to. The types do not depend on the size of a
model: one word or two are the same code.
"""

import sys
from collections.abc import Iterator

import numpy as np
from numba.core.dispatcher import Dispatcher
from scipy.sparse import csr_array

from limbeck.impurity.absorption import absorption
from limbeck.impurity.core_level import ChargeTransfer, core_model, cubic, dipole
from limbeck.impurity.excitations import greens_function
from limbeck.impurity.interaction import kanamori
from limbeck.impurity.model import ImpurityModel, anderson
from limbeck.impurity.multiplets import multiplets
from limbeck.impurity.network_problem import problem
from limbeck.impurity.orbitals import natural_orbitals
from limbeck.impurity.properties import double_occupancy, local_moment, total_spin_squared
from limbeck.impurity.recurrence import Recurrence
from limbeck.impurity.selected_ci import iterated
from limbeck.impurity.symmetry import chain_signs
from limbeck.impurity.vmc import local_energies


def compile_kernels() -> dict[str, int]:
    """Call every kernel with every kind of argument.

    Returns:
        Compilations of each function in this process; none anywhere if the machine code was there already.
    """
    for is_complex in (False, True):
        _ground_and_spectrum(is_complex)
        _edge(is_complex)
        _walk(is_complex)
    return compilations()


def compilations() -> dict[str, int]:
    """How often each compiled function of the impurity was compiled in this process, where the stored code was none."""
    return {name: sum(kernel.stats.cache_misses.values()) for name, kernel in _kernels()}


def signatures() -> dict[str, list[str]]:
    """Types of arguments with which each compiled function of the impurity was used in this process."""
    return {name: sorted(str(types) for types in kernel.overloads) for name, kernel in _kernels()}


def _kernels() -> Iterator[tuple[str, Dispatcher]]:
    """Compiled functions of all modules of the impurity that are loaded, each once."""
    prefix = __name__.rpartition(".")[0] + "."
    for name, module in sorted(sys.modules.items()):
        if not name.startswith(prefix):
            continue
        for value in list(vars(module).values()):
            if isinstance(value, Dispatcher) and value.py_func.__module__ == name:
                yield f"{name.removeprefix(prefix)}.{value.py_func.__name__}", value


def _ground_and_spectrum(is_complex: bool) -> None:
    """One orbital in a bath; the complex one with couplings that mix the spins."""
    model = anderson(np.array([[-1.0]]), np.array([-1.0, 0.0, 1.0]), np.array([[0.3, 0.4, 0.3]]), kanamori(1, 2.0), 4)
    if is_complex:
        h = model.one_body.astype(complex)
        h[0, 5], h[5, 0] = 0.2j, -0.2j
        model = ImpurityModel(h, model.interaction, 4, None)
    basis = natural_orbitals(model)
    state = iterated(basis, 1, 20, 200)
    greens_function(state, [0], (-3.0, 3.0), 0.2, 200)
    double_occupancy(state)
    local_moment(state)
    given = problem(basis, 0)
    chain_signs(given.basis, given.seeds)
    if not is_complex:
        total_spin_squared(state)
        local_energies(given, given.seeds, lambda occupied: np.ones(len(occupied)))


def _edge(is_complex: bool) -> None:
    """An L edge of a d9 ion with one ligand shell; an exchange field along y makes it complex."""
    levels = ChargeTransfer(9, 4.0, 7.0, 8.0)
    model = core_model(
        levels.valence * np.eye(5) + cubic(0.6, -0.4), levels.core, [levels.ligand * np.eye(5)], [cubic(2.0, 1.0)],
        {0: 7.0, 2: 9.0, 4: 6.0}, {0: 8.0, 2: 6.0}, {1: 4.0, 3: 2.0}, 19, valence_spin_orbit=0.1,
        core_spin_orbit=11.0, field=(0.0, 0.1 if is_complex else 0.0, 0.1),
    )  # fmt: skip
    absorption(multiplets(model, 300.0), dipole(), 300.0)


def _walk(is_complex: bool) -> None:
    """A few steps of the recurrence that large final spaces need."""
    dtype = complex if is_complex else float
    walk = Recurrence(csr_array(np.diag(np.arange(9.0)).astype(dtype)), np.ones((9, 1), dtype))
    walk.extend(3)
    walk.trace(np.array([0.5 + 0.1j]))
