"""From wrapped positions to paths, frame by frame.

Wrapped positions w(t) in a cell h(t), rows, give the path r step by step,

    r(t+1) = r(t) + w(t+1) - w(t) - round([w(t+1) - w(t)] h(t+1)^-1) h(t+1)

the toroidal-view scheme, which at constant pressure keeps the displacement of every step as it was; adding whole cells
n(t) h(t) would let the fluctuating cell move particles that have crossed a boundary (S. von Bülow, J. T. Bullerjahn,
G. Hummer, J. Chem. Phys. 153, 021101 (2020), doi:10.1063/5.0008316). Image flags, where there are any, replace the
rounding, so that steps of any length are right; without flags a step must stay below half the smallest width of the
cell. From positions that their writer unwrapped the whole cells are taken out again.

Relative to a host, that is, in a solid, atoms breathe with the cell. An atom that rattles across the boundary would
keep the change of the cell at each crossing, and a crystal at rest would diffuse. There the steps are those of the
fractional coordinates, in the mean cell of the run; for a constant cell both are the same.
"""

import numpy as np
from ase.geometry import complete_cell
from jaxtyping import Float

from limbeck.structures.chunks import Chunk

Place = tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]
"""Positions as read, image flags, unwrapped positions, and cell of the last frame."""


def unwrapped(
    chunk: Chunk, chosen: np.ndarray, before: Place | None, pbc: np.ndarray, cell_0: np.ndarray | None
) -> tuple[np.ndarray, float, Place]:
    """Go on from the last frame. With ``cell_0`` steps are those of the fractional coordinates, in that cell."""
    wrapped, cells = chunk.positions[chosen], chunk.cells[chosen]
    images = None if chunk.images is None else chunk.images[chosen]
    if before is None:
        start = wrapped[0] if images is None else wrapped[0] + images[0] @ cells[0]
        before = (wrapped[0], None if images is None else images[0], start, cells[0])
    last, last_images, place, last_cell = before
    steps = np.diff(wrapped, axis=0, prepend=last[None])
    longest = 0.0
    if images is not None and last_images is not None:
        steps += np.einsum("fai,fij->faj", np.diff(images, axis=0, prepend=last_images[None]), cells)
    elif pbc.any() and chunk.is_unwrapped:
        steps -= _moved_with_the_cell(np.concatenate([last[None], wrapped[:-1]]), cells, last_cell, pbc)
    elif pbc.any():
        full = np.array([complete_cell(cell) for cell in cells])
        inverse = np.linalg.inv(full)
        shift = np.round(np.einsum("fai,fij->faj", steps, inverse)) * pbc
        steps -= np.einsum("fai,fij->faj", shift, full)
        widths = 1.0 / np.linalg.norm(inverse, axis=1)
        smallest = np.where(pbc, widths, np.inf).min(axis=1)
        longest = float((np.linalg.norm(steps, axis=2).max(axis=1) / smallest).max())
    if cell_0 is not None:
        joined = not chunk.is_unwrapped  # positions that were unwrapped before have left no cell to add
        steps = _scaled(steps, np.concatenate([last[None], wrapped[:-1]]), wrapped, cells, last_cell, cell_0, joined)
    unwrapped = place + np.cumsum(steps, axis=0)
    return unwrapped, longest, (wrapped[-1], None if images is None else images[-1], unwrapped[-1], cells[-1])


def _scaled(
    steps: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    cells: np.ndarray,
    last_cell: np.ndarray,
    cell_0: np.ndarray,
    joined: bool,
) -> Float[np.ndarray, "f a 3"]:
    """Steps of the fractional coordinates, in one cell for all, from those in space.

    ``steps = after - before + images cells`` gives the images; the step of the fractional coordinates is
    ``after / cells - before / old cells + images``. Without ``joined`` there are none: the positions are unwrapped.
    """
    full = np.array([complete_cell(cell) for cell in np.concatenate([last_cell[None], cells])])
    inverse = np.linalg.inv(full)
    images = np.round(np.einsum("fai,fij->faj", steps - (after - before), inverse[1:])) if joined else 0.0
    fractional = np.einsum("fai,fij->faj", after, inverse[1:]) - np.einsum("fai,fij->faj", before, inverse[:-1])
    return np.asarray((fractional + images) @ complete_cell(cell_0))


def _moved_with_the_cell(
    before: Float[np.ndarray, "f a 3"], cells: Float[np.ndarray, "f 3 3"], last_cell: np.ndarray, pbc: np.ndarray
) -> Float[np.ndarray, "f a 3"]:
    """Part of each step that is the change of the cells between an atom and its image in the first one.

    Whoever unwrapped the positions added whole cells of the present size; a cell that fluctuates moves atoms far away.
    """
    old = np.concatenate([last_cell[None], cells[:-1]])
    full = np.array([complete_cell(cell) for cell in old])
    images = np.floor(np.einsum("fai,fij->faj", before, np.linalg.inv(full))) * pbc
    return np.asarray(np.einsum("fai,fij->faj", images, cells - old))
