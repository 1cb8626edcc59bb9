"""Damped Gauss-Newton steps for a network with many weights and few labels: the end of a fine-tuning.

With residuals r(w) = y_ref - y(w), weighted, one row for every energy, force and stress component, and the Jacobian J
of y with respect to the network's weights w, the step d of Levenberg and Marquardt minimizes |r|^2 + lambda |d|^2:

    d = (J^T J + lambda)^-1 J^T r = J^T a,   (J J^T + lambda) a = r

The second form needs the Gram matrix J J^T only, n_rows x n_rows: for a few dozen labels that is a thousand squared
whatever the size of the network. This matters, since the spectrum of J J^T spans eight decades for a pretrained
SevenNet: first-order optimizers do not get to its lower half in any affordable number of steps. What element shifts can
explain is projected out of the energy rows, so a step is not spent on the energy zero.

The network is not linear. A long step along weak directions also moves the stiff ones, where a small error is a large
residual. The Jacobian is the expensive part, residuals are cheap, so the residual is computed anew after the step and
the step corrected with the same J (a chord iteration), from strong to weak lambda, each starting where the last ended:

    a <- a + (J J^T + lambda)^-1 (r(w + J^T a) - lambda a)

Lambda is chosen by the loss so found, on the validation frames or, without any, on the training frames. In that case it
is also bounded from below: the loss on trajectories left out one by one, exact for the linearized problem, must stay
within :data:`HELD_OUT_TOLERANCE` of its minimum,

    r_out = [G_tt]^-1 (G r)_t,   G = (J J^T + lambda)^-1, t the rows of one trajectory.

Source: K. Levenberg, Q. Appl. Math. 2, 164 (1944); D. W. Marquardt, J. SIAM 11, 431 (1963), doi:10.1137/0111030; the
Gram-matrix form is kernel ridge regression with the network's tangent kernel (Jacot et al., arXiv:1806.07572).
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from limbeck.core.errors import TrainingError

if TYPE_CHECKING:
    import torch

    from limbeck.potentials.finetune import Example
    from limbeck.potentials.teachers.network import Network

DAMPINGS: tuple[float, ...] = tuple(10.0**e for e in (1, 0, -1, -2, -3, -4, -4.5, -5, -5.5, -6, -6.5))
"""Values of lambda that are tried, relative to the largest eigenvalue, from strong to weak. Forces in single precision
end the list."""
HELD_OUT_TOLERANCE = 1.1
CORRECTIONS = 4
"""Largest number of residuals computed for one lambda."""
SETTLED = 0.01
"""A relative change of the loss below which a correction is the last one."""
_COLUMNS_AT_ONCE = 32768
_JACOBIAN_SHARE = 0.8
"""Share of a step's time that goes into the Jacobian; for the progress only."""


@dataclass(frozen=True)
class Weights:
    """Square roots of the weights of a residual row, so that the sum of squared rows is twice the loss.

    Attributes:
        energy: Of a row in eV/atom.
        force: Of a row in eV/Å.
        stress: Of a row of volume times stress per atom, eV.
    """

    energy: float
    force: float
    stress: float


@dataclass(frozen=True)
class Step:
    """What one step did.

    Attributes:
        damping: Lambda relative to the largest eigenvalue; 0 where no step lowered the loss.
        before: Sum of squared weighted residuals of the judging frames before the step.
        after: The same after it.
        n_rows: Rows of the Jacobian.
    """

    damping: float
    before: float
    after: float
    n_rows: int


def usable_threads(wanted: int) -> int:
    """Number of frames to work on at once; 0 asks for all cores that this process may use."""
    return wanted if wanted > 0 else len(os.sched_getaffinity(0))


def refine(
    network: "Network",
    trained: "dict[str, torch.Tensor]",
    train: "Sequence[Example]",
    validation: "Sequence[Example]",
    weights: Weights,
    *,
    free_shifts: bool,
    threads: int,
    memory_GB: float,
    rng: np.random.Generator,
    advance: Callable[[float], None] = lambda _: None,
) -> Step:
    """Take one damped Gauss-Newton step in place.

    Equal arguments give equal bits on one machine whatever ``threads`` is: frames are independent of each other.

    Args:
        network: Its weights change, if a step lowers the loss.
        trained: Name -> weight of those that may change.
        train: Frames of the residuals.
        validation: Frames that choose the damping; may be empty.
        weights: Weights of the rows.
        free_shifts: Whether element shifts are fitted afterwards, so that they need no explanation here.
        threads: Frames worked on at once.
        memory_GB: Bound on the size of the Jacobian. If all rows need more, every frame gives a random share of its
            force rows.
        rng: Chooses that share.
        advance: Is told, from one thread at a time, which share of the work is done.

    Raises:
        TrainingError: If not even energies and stresses fit into the memory, or a value is not finite.
    """
    n_weights = sum(w.numel() for w in trained.values())
    rows = _chosen_rows(train, int(memory_GB * 1e9 / (4 * n_weights)), rng)
    matrix = np.empty((sum(len(r) for r in rows), n_weights), dtype=np.float32)
    ends = np.cumsum([len(r) for r in rows])
    starts = ends - [len(r) for r in rows]

    done, lock = 0, threading.Lock()

    def work(k: int) -> np.ndarray:
        nonlocal done
        values = _jacobian(network, list(trained.values()), train[k], weights, rows[k], matrix[starts[k] : ends[k]])
        with lock:
            done += len(rows[k])
            advance(_JACOBIAN_SHARE * done / len(matrix))
        return values

    residual = np.concatenate(in_threads(work, len(train), threads))
    gram = _gram(matrix, threads)
    project = np.eye(len(matrix))
    if free_shifts:
        project[np.ix_(starts, starts)] -= _shift_space(train)  # the energy is the first row of its frame
    gram, residual = project @ gram @ project, project @ residual
    if not np.all(np.isfinite(gram)):
        raise TrainingError("the Jacobian of the network holds NaN or infinity; look for frames with extreme labels")
    values, vectors = np.linalg.eigh(gram)
    held_out = _held_out(values, vectors, residual, _groups(train, rows))
    allowed = held_out <= HELD_OUT_TOLERANCE * held_out.min() if not validation else np.ones(len(DAMPINGS), dtype=bool)
    weakest = int(np.flatnonzero(allowed)[-1])
    start = {name: w.detach().clone() for name, w in trained.items()}
    kept, damping = start, 0.0
    best = before = _loss(_residuals(network, validation or train, weights, threads), validation or train, free_shifts)
    dual = np.zeros(len(matrix))
    for number, relative in enumerate(DAMPINGS[: weakest + 1]):
        advance(_JACOBIAN_SHARE + (1 - _JACOBIAN_SHARE) * number / (weakest + 1))
        strength, last, found = relative * values[-1], np.inf, np.inf
        for _ in range(CORRECTIONS):
            dual += vectors @ ((vectors.T @ (residual - strength * dual)) / (values + strength))
            _move(trained, start, _transposed_product(matrix, project @ dual))
            parts = _residuals(network, train, weights, threads)
            residual = project @ np.concatenate([part[r] for part, r in zip(parts, rows, strict=True)])
            loss = _loss(parts, train, free_shifts)
            if validation and np.isfinite(loss):
                loss = _loss(_residuals(network, validation, weights, threads), validation, free_shifts)
            found = min(found, loss)
            if loss < best:
                best, damping = loss, relative
                kept = {name: w.detach().clone() for name, w in trained.items()}
            if not np.isfinite(loss) or abs(last - loss) < SETTLED * loss:
                break
            last = loss
        if not np.isfinite(loss) or (damping and found > 1.5 * best):
            break
    _move(trained, kept, None)
    return Step(damping, before, best, len(matrix))


def _gram(matrix: Float[np.ndarray, "rows weights"], threads: int) -> Float[np.ndarray, "rows rows"]:
    """``matrix @ matrix.T`` in double precision: its error has to be far below the weakest damping."""
    from scipy.linalg.blas import dsyrk

    def work(k: int) -> np.ndarray:
        block = matrix[:, k * _COLUMNS_AT_ONCE : (k + 1) * _COLUMNS_AT_ONCE].astype(np.float64)
        return np.asarray(dsyrk(1.0, block.T, trans=1))

    gram = np.sum(in_threads(work, -(-matrix.shape[1] // _COLUMNS_AT_ONCE), threads), axis=0)
    return np.triu(gram) + np.triu(gram, 1).T


def _transposed_product(
    matrix: Float[np.ndarray, "rows weights"], dual: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " weights"]:
    """``matrix.T @ dual`` in double precision: where the damping is weak, large terms cancel."""
    product = np.empty(matrix.shape[1])
    for first in range(0, matrix.shape[1], _COLUMNS_AT_ONCE):
        block = matrix[:, first : first + _COLUMNS_AT_ONCE]
        product[first : first + _COLUMNS_AT_ONCE] = dual @ block.astype(np.float64)
    return product


def in_threads(work: Callable[[int], Any], count: int, threads: int) -> list[Any]:
    """Results of ``work(0), work(1), ...`` in order. Torch works outside Python's lock, so threads do run at once."""
    import torch

    def alone(k: int) -> Any:
        torch.set_num_threads(1)
        return work(k)

    with ThreadPoolExecutor(usable_threads(threads)) as pool:
        return list(pool.map(alone, range(count)))


def _row_weights(example: "Example", weights: Weights) -> Float[np.ndarray, " rows"]:
    """Weight of each row of one frame: energy per atom, 3 n force components, and 6 stresses where there are any."""
    n = len(example.forces)
    stress = weights.stress * example.graph.volume / n
    n_stress = 6 if np.isfinite(example.stress[0]) else 0
    return np.concatenate([np.full(1, weights.energy / n), np.full(3 * n, weights.force), np.full(n_stress, stress)])


def _residual(network: "Network", example: "Example", create_graph: bool) -> "torch.Tensor":
    """Reference minus prediction of one frame, unweighted, in the order of :func:`_row_weights`."""
    import torch

    from limbeck.potentials.teachers.network import derive

    output = derive(network, network.collate([example.graph]), create_graph=create_graph)
    parts = [
        example.energy - output.energies,
        (torch.from_numpy(example.forces) - output.forces.double()).reshape(-1),
    ]
    if np.isfinite(example.stress[0]):
        parts.append((torch.from_numpy(example.stress) - output.stress.double()).reshape(-1))
    return torch.cat(parts)


def _jacobian(
    network: "Network",
    parameters: "Sequence[torch.Tensor]",
    example: "Example",
    weights: Weights,
    rows: np.ndarray,
    target: np.ndarray,
) -> Float[np.ndarray, " rows"]:
    """Write minus the Jacobian of some residual rows into ``target``; returns these residuals, weighted."""
    import torch

    scale = _row_weights(example, weights)[rows]
    residual = _residual(network, example, create_graph=True)[torch.from_numpy(rows)] * torch.from_numpy(scale)
    for k in range(len(rows)):
        gradient = torch.autograd.grad(
            residual[k], parameters, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        torch.cat([g.reshape(-1) for g in gradient], out=torch.from_numpy(target[k]))
    np.negative(target, out=target)
    return np.asarray(residual.detach().numpy())


def _chosen_rows(train: "Sequence[Example]", limit: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of every frame that take part: all, or as many force rows as fit."""
    counts = [3 * len(e.forces) for e in train]
    others = [1 + 6 * bool(np.isfinite(e.stress[0])) for e in train]
    if sum(others) > limit:
        raise TrainingError(
            f"the energies and stresses of {len(train)} frames need {sum(others)} rows of the Jacobian, and the memory "
            f"bound allows {limit}. Raise 'jacobian_memory_GB', or set 'second_order_steps' to 0."
        )
    share = min(1.0, (limit - sum(others)) / sum(counts))
    chosen = []
    for n_forces, n_others in zip(counts, others, strict=True):
        forces = np.arange(n_forces)
        if share < 1:
            forces = np.sort(rng.permutation(n_forces)[: int(share * n_forces)])
        chosen.append(np.concatenate([[0], 1 + forces, 1 + n_forces + np.arange(n_others - 1)]).astype(np.int64))
    return chosen


def _shift_space(frames: "Sequence[Example]") -> Float[np.ndarray, "frames frames"]:
    """Projector on the energies per atom that shifts of the elements can make."""
    numbers = sorted({int(z) for e in frames for z in e.graph.numbers})
    columns = np.array([[np.sum(e.graph.numbers == z) / len(e.forces) for z in numbers] for e in frames])
    return np.asarray(columns @ np.linalg.pinv(columns, rcond=1e-8))


def _groups(train: "Sequence[Example]", rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Row numbers of each trajectory; of each frame, where there is one trajectory only."""
    owner = np.repeat(np.arange(len(train)), [len(r) for r in rows])
    names = [e.trajectory for e in train]
    labels = names if len(set(names)) > 1 else [str(k) for k in range(len(train))]
    return [np.flatnonzero(np.isin(owner, np.flatnonzero(np.array(labels) == name))) for name in sorted(set(labels))]


def _held_out(
    values: np.ndarray, vectors: np.ndarray, residual: np.ndarray, groups: Sequence[np.ndarray]
) -> Float[np.ndarray, " dampings"]:
    """Sum of squared residuals of left-out groups for each damping, exact for the linearized problem."""
    if len(groups) < 2:
        return np.ones(len(DAMPINGS))
    losses = []
    for relative in DAMPINGS:
        inverse = (vectors / (values + relative * values[-1])) @ vectors.T
        dual = inverse @ residual
        left_out = [np.linalg.solve(inverse[np.ix_(g, g)], dual[g]) for g in groups]
        losses.append(sum(float(r @ r) for r in left_out))
    return np.array(losses)


def element_shifts(network: "Network", frames: "Sequence[Example]", threads: int) -> dict[int, float]:
    """Energy in eV by atomic number that brings the network's energies closest to the references."""
    numbers = sorted({int(z) for e in frames for z in e.graph.numbers})
    columns = np.array([[np.sum(e.graph.numbers == z) / len(e.forces) for z in numbers] for e in frames])
    differences = [r[0] for r in _residuals(network, frames, Weights(1.0, 1.0, 1.0), threads)]
    return dict(zip(numbers, np.linalg.lstsq(columns, differences, rcond=1e-8)[0].tolist(), strict=True))


def _residuals(
    network: "Network", frames: "Sequence[Example]", weights: Weights, threads: int
) -> list[Float[np.ndarray, " rows"]]:
    """Weighted residuals of each frame with the present weights of the network."""

    def work(k: int) -> np.ndarray:
        return _row_weights(frames[k], weights) * _residual(network, frames[k], create_graph=False).detach().numpy()

    return in_threads(work, len(frames), threads)


def _loss(residuals: Sequence[np.ndarray], frames: "Sequence[Example]", free_shifts: bool) -> float:
    """Sum of squared weighted residuals, the element shifts at their best if free; infinite where it is not finite."""
    energies = np.array([r[0] for r in residuals])
    if free_shifts:
        energies = energies - _shift_space(frames) @ energies
    total = float(energies @ energies) + sum(float(r[1:] @ r[1:]) for r in residuals)
    return total if np.isfinite(total) else float("inf")


def _move(
    trained: "dict[str, torch.Tensor]", start: "dict[str, torch.Tensor]", step: Float[np.ndarray, " weights"] | None
) -> None:
    """Set the weights to ``start`` plus a step."""
    import torch

    first = 0
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(start[name])
            if step is not None:
                part = step[first : first + weight.numel()].reshape(weight.shape)
                weight += torch.from_numpy(part).to(weight.dtype)
            first += weight.numel()
