"""Ground state as a matrix product state, found by block2 in a process of its own.

Density-matrix renormalization (S. R. White, doi:10.1103/PhysRevLett.69.2863) on the chain of natural orbitals: impurity
and partners in the middle, filled orbitals on one side and empty ones on the other, each by its distance in hops.
block2 (H. Zhai et al., arXiv:2310.03920; GPL-3) is never imported here: :mod:`limbeck.impurity.dmrg_worker` is started
with an interpreter that has it. Singlets of real models whose H no rotation of the spin changes are kept in SU(2),
other real models in U(1)xU(1), the rest in U(1).

A sweep can end in a wrong sector or in a local minimum without a sign of it: a selected set of moderate size stands
beside every result, and a state above it is told of.
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt64

from limbeck.core.errors import ConfigError, DiskFullError, ExecutionError, LimbeckError, MissingDependencyError
from limbeck.core.record import disk_full_told
from limbeck.impurity import dmrg_worker
from limbeck.impurity.dmrg_interpreter import INSTALL_LINE, INTERPRETER, interpreter_with_block2
from limbeck.impurity.model import ImpurityModel
from limbeck.impurity.orbitals import NaturalOrbitals
from limbeck.impurity.properties import total_spin_squared
from limbeck.impurity.selected_ci import SelectedState, Step, selected_ci
from limbeck.impurity.subspace import Hamiltonian, packed

MOST_ORBITALS = {"su2": 96, "sz": 200, "general": 200}
"""The integrals of the SU(2) mode are a dense array."""
SINGLET = 0.05
"""<S^2> of the selected state below which it is taken for a singlet."""
COMPARED = 2000
"""Configurations of the selected set beside."""
SAME = 1e-10
"""Energies this close, relative or in their unit, are the same."""
FULL = r"No space left on device|Disk quota exceeded|save_data on .* failed"
"""What is said on a full disk."""
LEAST_ROOM = 1 << 20
"""Bytes below which a disk is full."""


@dataclass(frozen=True)
class Bond:
    """What one bond dimension gave.

    Attributes:
        bond: Bond dimension (of multiplets in SU(2)).
        energy: After the last two-site sweep.
        discarded: Largest discarded weight of that sweep.
        sweeps: How many there were.
        cpu_s: CPU seconds of block2 since its start.
        stands: Whether the last sweep no longer changed the energy.
    """

    bond: int
    energy: float
    discarded: float
    sweeps: int
    cpu_s: float
    stands: bool


@dataclass(frozen=True)
class DmrgState:
    """A matrix product state and its largest configurations.

    Attributes:
        state: Configurations with the largest amplitudes, as any other ground state; its energy is that of these
            amplitudes, normalized: an upper bound slightly above ``energy``.
        energy: ``<H>`` of the matrix product state: an upper bound.
        variance: ``<H^2> - <H>^2`` of it.
        extrapolated: Energy continued to no discarded weight, and the size of that step as an error.
        density: ``P_ij = <c+_j c_i>`` of it, in the orbitals of the configurations.
        weight: Its weight on the configurations of ``state``.
        bonds: One by one.
        symmetry: ``SU(2)``, ``U(1)xU(1)`` or ``U(1)``.
        compared: Energy of a selected set, which a converged state lies below.
        cpu_s: CPU seconds of block2.
    """

    state: SelectedState
    energy: float
    variance: float
    extrapolated: tuple[float, float]
    density: "np.ndarray"
    weight: float
    bonds: tuple[Bond, ...]
    symmetry: str
    compared: float
    cpu_s: float

    @property
    def is_stuck(self) -> bool:
        """Whether a selected set of :data:`COMPARED` configurations lies below it."""
        return self.energy > self.compared + SAME * max(abs(self.compared), 1.0)


def dmrg_state(
    basis: NaturalOrbitals,
    bonds: Sequence[int] = (16, 32, 64, 128),
    most: int = 10_000,
    *,
    sweeps: int = 24,
    python: str | None = None,
    memory_GB: float = 1.0,
    tell: Callable[[int, float], None] | None = None,
) -> DmrgState:
    """Sweep at one bond dimension after the other.

    Args:
        basis: Natural orbitals, best of a correlated density (:func:`limbeck.impurity.selected_ci.correlated_basis`).
        bonds: Bond dimensions, increasing.
        most: Configurations that are kept of the state.
        sweeps: At most, at each bond dimension.
        python: Interpreter that has block2; left out: that of :data:`INTERPRETER`, or this one.
        memory_GB: Of block2's stack.
        tell: Called with bond dimension and energy after each.

    Raises:
        MissingDependencyError: If the interpreter is not there or does not have block2.
        ConfigError: If bond dimensions do not increase, or there are too many orbitals.
        ExecutionError: If block2 fails.
    """
    if not bonds or any(b < 2 for b in bonds) or list(bonds) != sorted(set(bonds)):
        raise ConfigError(f"bond dimensions must be 2 or more and increase, got {list(bonds)}")
    model = basis.model
    n_orbitals = model.n_spin_orbitals // 2
    if n_orbitals > MOST_ORBITALS["general"]:
        raise ConfigError(f"{n_orbitals} orbitals are too many for block2, at most {MOST_ORBITALS['general']}")
    require_block2(python)
    beside = selected_ci(basis, COMPARED)
    kind = _kind(model, beside)
    order = chain_order(basis)
    arrays = _integrals(model, kind, order)
    filling = np.diag(beside.density()).real
    settings = {
        "kind": kind, "memory_GB": memory_GB, "spin_2z": model.spin_2z or 0, "electrons": model.n_electrons,
        "bonds": list(bonds), "sweeps": sweeps, "wide": 4, "configurations": most,
    }  # fmt: skip
    occupations = filling if kind == "general" else filling[0::2] + filling[1::2]
    found = _run(
        arrays | {"occupations": occupations[_sites(order, kind)], "settings": json.dumps(settings)}, python, tell
    )
    rows, vector = _in_our_order(found["configurations"], found["amplitudes"], order, kind, model)
    weight = float(np.sum(np.abs(vector) ** 2))
    bond_rows = tuple(Bond(int(b), e, d, int(n), s, bool(f)) for b, e, d, n, s, f in found["bonds"].tolist())
    energy = float(found["energy"])
    extrapolated = _extrapolated(energy, bond_rows)
    return DmrgState(
        _selected(basis, rows, vector / np.sqrt(weight), extrapolated), energy, float(found["variance"]), extrapolated,
        _density(found["density"], order, kind), weight, bond_rows,
        {"su2": "SU(2)", "sz": "U(1)xU(1)", "general": "U(1)"}[kind], beside.energy, float(found["cpu_s"]),
    )  # fmt: skip


def chain_order(basis: NaturalOrbitals) -> Int[np.ndarray, " n"]:
    """Orbitals along the chain: filled by falling, empty by rising distance in hops, and the active ones between."""
    h = np.abs(basis.model.one_body)
    h = h[0::2, 0::2] + h[0::2, 1::2] + h[1::2, 0::2] + h[1::2, 1::2]
    m = basis.model.n_impurity // 2
    side = np.where(basis.is_active[0::2], 0, np.where(basis.is_filled[0::2], -1, 1))
    distance = np.full(len(h), -1)
    distance[:m] = 0
    for step in range(1, len(h)):
        reached = (h[distance == step - 1] > 0).any(axis=0) & (distance < 0)
        distance[reached] = step
    distance[distance < 0] = len(h)
    place = np.where(side == 0, 0.001 * (np.arange(len(h)) >= m), side * (1 + distance))
    return np.lexsort((basis.part[0::2], place))


def _kind(model: ImpurityModel, beside: SelectedState) -> str:
    """Which symmetry block2 keeps."""
    if model.spin_2z is None:
        return "general"
    fits = model.n_spin_orbitals // 2 <= MOST_ORBITALS["su2"] and not model.is_complex and model.spin_2z == 0
    if fits and _turns_with_spin(model) and total_spin_squared(beside) < SINGLET:
        return "su2"
    return "sz"


def _spatial(model: ImpurityModel) -> "np.ndarray":
    """V_pqrs of ``1/2 sum V_pqrs c+_ps c+_qt c_st c_rs`` that up and down together ask for."""
    u = model.interaction
    up, down = slice(0, None, 2), slice(1, None, 2)
    direct = u[up, down, up, down] + u[down, up, down, up].transpose(1, 0, 3, 2)
    exchanged = u[up, down, down, up].transpose(0, 1, 3, 2) + u[down, up, up, down].transpose(1, 0, 2, 3)
    return np.asarray(0.5 * (direct - exchanged).real)


def _turns_with_spin(model: ImpurityModel) -> bool:
    """Whether no rotation of the spin changes H."""
    h, u = model.one_body, model.interaction
    if not np.allclose(h[0::2, 0::2], h[1::2, 1::2], atol=1e-12):
        return False
    spatial, m = _spatial(model), len(u)
    rebuilt = np.zeros((m,) * 4)
    for s in range(2):
        for t in range(2):
            rebuilt[s::2, t::2, s::2, t::2] = spatial
    given, made = (x - x.transpose(0, 1, 3, 2) for x in (u.real, rebuilt))
    given, made = (x - x.transpose(1, 0, 2, 3) for x in (given, made))
    return np.allclose(given, made, atol=1e-12 * max(1.0, float(np.abs(u).max(initial=0.0))))


def _sites(order: Int[np.ndarray, " n"], kind: str) -> Int[np.ndarray, " k"]:
    """Orbitals of the sites, or spin orbitals where these are the sites."""
    return np.stack([2 * order, 2 * order + 1], axis=1).ravel() if kind == "general" else order


def _integrals(model: ImpurityModel, kind: str, order: Int[np.ndarray, " n"]) -> "dict[str, np.ndarray]":
    """One- and two-body elements along the chain; two-body ones where they are not zero.

    In SU(2) they are ``(pr|qs)`` over orbitals, otherwise ``U_abcd`` over spin orbitals.
    """
    m = model.n_impurity
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    if kind == "su2":
        v = _spatial(model).transpose(0, 2, 1, 3)
        at = np.argwhere(v)
        return {"one_body": model.one_body[0::2, 0::2].real[np.ix_(order, order)], "two_body": v[tuple(at.T)],
                "two_body_at": place[at]}  # fmt: skip
    both = np.stack([2 * order, 2 * order + 1], axis=1).ravel()
    wide = np.stack([2 * place, 2 * place + 1], axis=1).ravel()
    h, u = model.one_body[np.ix_(both, both)], model.interaction
    if not model.is_complex:
        h, u = h.real, u.real
    at = np.argwhere(u)
    return {"one_body": h, "two_body": u[tuple(at.T)], "two_body_at": wide[:m][at]}


def require_block2(python: str | None = None) -> None:
    """Say at once that block2 is not there.

    Raises:
        MissingDependencyError: If the interpreter is not there or does not have block2.
    """
    interpreter = interpreter_with_block2(python)
    try:
        done = subprocess.run([interpreter, dmrg_worker.__file__, "--check"], capture_output=True, text=True)
    except OSError as error:
        raise _not_started(interpreter, error) from error
    if done.returncode:
        raise _failure(interpreter, done.returncode, done.stderr)


def _run(
    arrays: "dict[str, Any]", python: str | None, tell: Callable[[int, float], None] | None
) -> "dict[str, np.ndarray]":
    """What the worker finds."""
    interpreter = interpreter_with_block2(python)
    with tempfile.TemporaryDirectory(prefix="limbeck-dmrg-") as folder:
        source, target, errors = (Path(folder) / name for name in ("in.npz", "out.npz", "errors.txt"))
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        with disk_full_told(source):
            source.write_bytes(buffer.getvalue())
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with errors.open("wb") as stream:
            try:
                process = subprocess.Popen(
                    [interpreter, dmrg_worker.__file__, str(source), str(target)], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=stream, env=environment, cwd=folder, text=True,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise _not_started(interpreter, error) from error
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for line in process.stdout:
                words = line.split()
                if tell is not None and len(words) == 3 and words[0] == "bond":
                    tell(int(words[1]), float(words[2]))
            code = process.wait()
            if code == 0 and target.is_file():
                with np.load(target) as data:
                    return dict(data)
            raise _failure(interpreter, code, errors.read_text(errors="replace"))
        finally:
            with contextlib.suppress(ProcessLookupError):  # the worker, or the process that watches a dead one
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdin.close()
            process.stdout.close()


def _not_started(interpreter: str, error: OSError) -> MissingDependencyError:
    return MissingDependencyError(
        f"cannot start {interpreter}: {error}. Check ground_state.dmrg.python or {INTERPRETER}"
    )


def _failure(interpreter: str, code: int, text: str) -> LimbeckError:
    """What it means that the worker ended without an answer."""
    last = next((line for line in reversed(text.splitlines()) if line.strip()), f"exit status {code}")
    if code == dmrg_worker.CANNOT_IMPORT:
        return MissingDependencyError(f"{interpreter} has no block2 ({last}). Install it: {INSTALL_LINE}")
    room = shutil.disk_usage(tempfile.gettempdir()).free
    if room < LEAST_ROOM or re.search(FULL, text):
        return DiskFullError(f"block2: {last}. Free some space in {tempfile.gettempdir()} (or set TMPDIR), run again")
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return ExecutionError("block2 was killed, perhaps for memory: take smaller bond dimensions, or run again")
    if code in (-signal.SIGABRT, -signal.SIGSEGV):
        return ExecutionError(
            f"block2 broke off (signal {-code}), most likely since its stack was too small, or larger than the memory "
            "there is: raise or lower ground_state.dmrg.memory_GB"
        )
    return ExecutionError(f"block2 failed (exit status {code}): {last}")


def _in_our_order(
    configurations: Int[np.ndarray, "k sites"], amplitudes: "np.ndarray", order: Int[np.ndarray, " n"], kind: str,
    model: ImpurityModel,
) -> tuple[UInt64[np.ndarray, "k words"], "np.ndarray"]:  # fmt: skip
    """Configurations as rows of bits, and amplitudes with the sign of the way from the chain's order to ours."""
    n = model.n_spin_orbitals
    occupied = np.zeros((len(configurations), n), bool)
    if kind == "general":
        occupied[:, _sites(order, kind)] = configurations > 0
    else:
        occupied[:, 2 * order], occupied[:, 2 * order + 1] = configurations & 1 > 0, configurations & 2 > 0
    place = np.empty(n, int)
    place[np.stack([2 * order, 2 * order + 1], axis=1).ravel()] = np.arange(n)
    index = np.arange(n)
    crossed = (place[:, None] < place) & (index[:, None] > index)
    inversions = np.einsum("kp,kp->k", occupied.astype(np.int64) @ crossed.astype(np.int64), occupied.astype(np.int64))
    return packed(occupied, Hamiltonian.of(model).words), amplitudes * (1.0 - 2.0 * (inversions % 2))


def _density(found: "np.ndarray", order: Int[np.ndarray, " n"], kind: str) -> "np.ndarray":
    """``<c+_j c_i>`` in our order from ``<a+_i a_j>`` along the chain."""
    n = 2 * len(order)
    density = np.zeros((n, n), found.dtype)
    both = np.stack([2 * order, 2 * order + 1], axis=1).ravel()
    if kind == "general":
        density[np.ix_(both, both)] = found.T
    elif kind == "su2":
        density[np.ix_(2 * order, 2 * order)] = density[np.ix_(2 * order + 1, 2 * order + 1)] = found.T / 2
    else:
        for s in range(2):
            density[np.ix_(2 * order + s, 2 * order + s)] = found[s].T
    return density


def _extrapolated(energy: float, bonds: tuple[Bond, ...]) -> tuple[float, float]:
    """A line of the energy over the discarded weight through the last two bond dimensions, continued to zero.

    It goes on from the last energy of two sites, to which the discarded weights belong; that of the state itself, of
    one site, is higher. The error is the step and the distance of these two.
    """
    if len(bonds) < 2:
        return min(energy, bonds[-1].energy), float("inf")
    one, two = bonds[-2:]
    if not 0 <= two.discarded < one.discarded:
        return two.energy, abs(one.energy - two.energy) + abs(energy - two.energy)
    step = max((one.energy - two.energy) * two.discarded / (one.discarded - two.discarded), 0.0)
    return two.energy - step, step + abs(energy - two.energy)


def _selected(
    basis: NaturalOrbitals, rows: UInt64[np.ndarray, "k words"], vector: "np.ndarray", extrapolated: tuple[float, float]
) -> SelectedState:
    """The configurations as a ground state, with what H leads out of them."""
    hamiltonian = Hamiltonian.of(basis.model)
    applied = hamiltonian.matrix(rows) @ vector
    energy = float(np.vdot(vector, applied).real)
    outside, sums = hamiltonian.outside(rows, vector)
    gap = np.minimum(energy - hamiltonian.diagonal(outside), -1e-8)
    pt2 = float(np.sum(np.abs(sums) ** 2 / gap))
    variance = float(np.linalg.norm(applied - energy * vector) ** 2 + np.sum(np.abs(sums) ** 2))
    return SelectedState(
        hamiltonian, basis.orbitals, rows, vector, energy, pt2, variance, extrapolated, (Step(len(rows), energy, pt2),)
    )
