"""Compiled work on sets of configurations: occupations as bits, a hash table, what the Hamiltonian connects.

A configuration is a row of 64-bit words; bit s of the row is the occupation of spin orbital s. Creation operators act
in the order of the bits, lowest first. The spin orbitals of the impurity come first, so that whatever conserves the
number of electrons there has signs that depend on its own bits only: interaction, crystal field and spin-orbit coupling
become one table from each of its occupation patterns to others.
"""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

ONE = np.uint64(1)
EMPTY = np.int64(-1)


# The two below are numba's own mechanism for one machine instruction: numba calls them with its types, which have no
# annotations to give, and replaces their signature; a docstring would be that of the instruction.
@intrinsic
def popcount(typingctx, word):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D103
    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


@intrinsic
def trailing_zeros(typingctx, word):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D103
    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return builder.cttz(arguments[0], context.get_constant(types.boolean, 0))

    return types.uint64(types.uint64), code


@njit(cache=True, inline="always")
def hash_of_row(row: np.ndarray) -> np.uint64:
    """A well-mixed 64-bit hash (the finalizer of splitmix64 over the words)."""
    h = np.uint64(0x9E3779B97F4A7C15)
    for w in range(len(row)):
        h = (h ^ row[w]) * np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(29)
        h *= np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(32)
    return h


@njit(cache=True)
def new_table(n: int) -> np.ndarray:
    """An empty table for ``n`` rows: twice as many places, a power of two."""
    size = 16
    while size < 2 * n:
        size *= 2
    return np.full(size, EMPTY, np.int64)


@njit(cache=True, inline="always")
def find(table: np.ndarray, rows: np.ndarray, row: np.ndarray) -> tuple[np.int64, np.int64]:
    """Number of a row, or -1, and its place in the table (that of the next free one if it is not there)."""
    mask = np.uint64(len(table) - 1)
    place = hash_of_row(row) & mask
    while True:
        k = table[place]
        if k == EMPTY:
            return EMPTY, np.int64(place)
        same = True
        for w in range(len(row)):
            if rows[k, w] != row[w]:
                same = False
                break
        if same:
            return k, np.int64(place)
        place = (place + ONE) & mask


@njit(cache=True)
def table_of(rows: np.ndarray) -> np.ndarray:
    """Table of distinct rows."""
    table = new_table(len(rows))
    for k in range(len(rows)):
        _, place = find(table, rows, rows[k])
        table[place] = k
    return table


@njit(cache=True)
def numbers_of(table: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Number in ``rows`` of each wanted row, -1 where it is not there."""
    found = np.empty(len(wanted), np.int64)
    for k in range(len(wanted)):
        found[k], _ = find(table, rows, wanted[k])
    return found


@njit(cache=True, inline="always")
def rank(row: np.ndarray, bit: int) -> np.uint64:
    """Number of occupied spin orbitals below ``bit``."""
    word = bit >> 6
    count = popcount(row[word] & ((ONE << np.uint64(bit & 63)) - ONE))
    for w in range(word):
        count += popcount(row[w])
    return count


@njit(cache=True, inline="always")
def is_set(row: np.ndarray, bit: int) -> bool:
    """Whether a spin orbital is occupied."""
    return (row[bit >> 6] >> np.uint64(bit & 63)) & ONE == ONE


@njit(cache=True)
def diagonal(rows: np.ndarray, local_bits: int, local_diagonal: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Energy of each configuration."""
    pattern_mask = (ONE << np.uint64(local_bits)) - ONE
    energies = np.empty(len(rows))
    for k in range(len(rows)):
        energy = local_diagonal[np.int64(rows[k, 0] & pattern_mask)]
        for w in range(rows.shape[1]):
            word = rows[k, w]
            if w == 0:
                word &= ~pattern_mask
            while word:
                bit = trailing_zeros(word)
                energy += levels[64 * w + np.int64(bit)]
                word &= word - ONE
        energies[k] = energy
    return energies


@njit(cache=True)
def connections(
    row: np.ndarray, local_bits: int, local_starts: np.ndarray, local_to: np.ndarray, local_values: np.ndarray,
    hop_starts: np.ndarray, hop_to: np.ndarray, hop_values: np.ndarray, only_up: bool, out: np.ndarray,
    values: np.ndarray,
) -> int:  # fmt: skip
    """Configurations that H makes of one, without itself, and ``<out|H|row>``; their number.

    Args:
        row: The configuration.
        local_bits: Spin orbitals of the impurity.
        local_starts: Table of the impurity's patterns: where each one's entries begin.
        local_to: Pattern of each entry, increasing for each pattern.
        local_values: ``<to|H|from>`` of each entry.
        hop_starts: Hops from spin orbital j: where its entries begin.
        hop_to: Spin orbital i of ``h_ij c+_i c_j``; of i and j one at least is in the bath.
        hop_values: h_ij.
        only_up: Take only one of each pair of operators that are each other's adjoints.
        out: (most, words) filled.
        values: (most,) filled.
    """
    words, count = len(row), 0
    pattern_mask = (ONE << np.uint64(local_bits)) - ONE
    pattern = np.int64(row[0] & pattern_mask)
    for entry in range(local_starts[pattern], local_starts[pattern + 1]):
        to = local_to[entry]
        if only_up and to < pattern:
            continue
        for w in range(words):
            out[count, w] = row[w]
        out[count, 0] = (row[0] & ~pattern_mask) | np.uint64(to)
        values[count] = local_values[entry]
        count += 1
    before = np.uint64(0)
    for w in range(words):
        word = row[w]
        while word:
            j = 64 * w + np.int64(trailing_zeros(word))
            word &= word - ONE
            for entry in range(hop_starts[j], hop_starts[j + 1]):
                i = hop_to[entry]
                if (only_up and i > j) or is_set(row, i):
                    continue
                crossed = before + rank(row, i)
                if j < i:
                    crossed -= ONE
                for v in range(words):
                    out[count, v] = row[v]
                out[count, j >> 6] ^= ONE << np.uint64(j & 63)
                out[count, i >> 6] ^= ONE << np.uint64(i & 63)
                values[count] = -hop_values[entry] if crossed & ONE else hop_values[entry]
                count += 1
            before += ONE
    return count


@njit(cache=True)
def pairs_within(
    rows: np.ndarray, table: np.ndarray, most: int, local_bits: int, local_starts: np.ndarray, local_to: np.ndarray,
    local_values: np.ndarray, hop_starts: np.ndarray, hop_to: np.ndarray, hop_values: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Each connected pair of the set once: numbers a, b and ``<a|H|b>``."""
    capacity, count = 16 * len(rows) + 64, 0
    a, b, values = np.empty(capacity, np.int32), np.empty(capacity, np.int32), np.empty(capacity, hop_values.dtype)
    out, found = np.empty((most, rows.shape[1]), np.uint64), np.empty(most, hop_values.dtype)
    for k in range(len(rows)):
        n = connections(
            rows[k], local_bits, local_starts, local_to, local_values, hop_starts, hop_to, hop_values, True, out, found
        )
        if count + n > capacity:
            capacity = 2 * capacity + n
            wider_a, wider_b = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
            wider_values = np.empty(capacity, hop_values.dtype)
            wider_a[:count], wider_b[:count], wider_values[:count] = a[:count], b[:count], values[:count]
            a, b, values = wider_a, wider_b, wider_values
        for c in range(n):
            number, _ = find(table, rows, out[c])
            if number >= 0:
                a[count], b[count], values[count] = number, k, found[c]
                count += 1
    return a[:count], b[:count], values[:count]


@njit(cache=True)
def compressed(
    n: int, a: np.ndarray, b: np.ndarray, values: np.ndarray, diagonal_values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the Hermitian matrix with each pair on both sides and the diagonal: data, columns, starts (CSR)."""
    starts = np.zeros(n + 1, np.int32)
    for k in range(len(a)):
        starts[a[k] + 1] += 1
        starts[b[k] + 1] += 1
    for k in range(n):
        starts[k + 1] += starts[k] + 1
    columns, data = np.empty(starts[n], np.int32), np.empty(starts[n], values.dtype)
    fill = starts[:-1].copy()
    for k in range(n):
        columns[fill[k]], data[fill[k]] = k, diagonal_values[k]
        fill[k] += 1
    for k in range(len(a)):
        i, j = a[k], b[k]
        columns[fill[i]], data[fill[i]] = j, values[k]
        columns[fill[j]], data[fill[j]] = i, np.conj(values[k])
        fill[i] += 1
        fill[j] += 1
    return data, columns, starts


@njit(cache=True)
def applied(
    rows: np.ndarray, vectors: np.ndarray, table: np.ndarray, most: int, local_bits: int,
    local_starts: np.ndarray, local_to: np.ndarray, local_values: np.ndarray, hop_starts: np.ndarray,
    hop_to: np.ndarray, hop_values: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Configurations outside the set that H reaches from it, and ``<out|H|state>`` of each state, (n_out, k).

    Args:
        rows: The set.
        vectors: (n, k) amplitudes of k states.
        table: Of the set.
        most: Most connections of one configuration.
        local_bits: This and the rest: see :func:`connections`.
        local_starts: See there.
        local_to: See there.
        local_values: See there.
        hop_starts: See there.
        hop_to: See there.
        hop_values: See there.
    """
    words, capacity, count, k_states = rows.shape[1], 4 * len(rows) + 64, 0, vectors.shape[1]
    outside, sums = np.empty((capacity, words), np.uint64), np.zeros((capacity, k_states), vectors.dtype)
    places = new_table(capacity)
    out, found = np.empty((most, words), np.uint64), np.empty(most, hop_values.dtype)
    for k in range(len(rows)):
        n = connections(
            rows[k], local_bits, local_starts, local_to, local_values, hop_starts, hop_to, hop_values, False, out, found
        )
        for c in range(n):
            number, _ = find(table, rows, out[c])
            if number >= 0:
                continue
            number, place = find(places, outside, out[c])
            if number >= 0:
                for s in range(k_states):
                    sums[number, s] += found[c] * vectors[k, s]
                continue
            if count == capacity:
                capacity *= 2
                wider = np.empty((capacity, words), np.uint64)
                wider_sums = np.zeros((capacity, k_states), vectors.dtype)
                wider[:count], wider_sums[:count] = outside[:count], sums[:count]
                outside, sums = wider, wider_sums
                places = new_table(capacity)
                for old in range(count):
                    _, place = find(places, outside, outside[old])
                    places[place] = old
                _, place = find(places, outside, out[c])
            outside[count] = out[c]
            for s in range(k_states):
                sums[count, s] = found[c] * vectors[k, s]
            places[place] = count
            count += 1
    return outside[:count], sums[:count]


@njit(cache=True)
def reached(
    rows: np.ndarray, table: np.ndarray, most: int, local_bits: int, local_starts: np.ndarray, local_to: np.ndarray,
    local_values: np.ndarray, hop_starts: np.ndarray, hop_to: np.ndarray, hop_values: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Configurations outside the set that H reaches from it, and ``<out|H|row>`` as a matrix: rows, columns, values.

    For many states at once a product with this matrix is faster than :func:`applied`, which needs less memory.
    """
    words, capacity, count, entries = rows.shape[1], 4 * len(rows) + 64, 0, 0
    outside, places = np.empty((capacity, words), np.uint64), new_table(capacity)
    room = 16 * len(rows) + 64
    to, source, values = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, hop_values.dtype)
    out, found = np.empty((most, words), np.uint64), np.empty(most, hop_values.dtype)
    for k in range(len(rows)):
        n = connections(
            rows[k], local_bits, local_starts, local_to, local_values, hop_starts, hop_to, hop_values, False, out, found
        )
        if entries + n > room:
            room = 2 * room + n
            wider_to, wider_source = np.empty(room, np.int32), np.empty(room, np.int32)
            wider_values = np.empty(room, hop_values.dtype)
            wider_to[:entries], wider_source[:entries] = to[:entries], source[:entries]
            wider_values[:entries] = values[:entries]
            to, source, values = wider_to, wider_source, wider_values
        for c in range(n):
            number, _ = find(table, rows, out[c])
            if number >= 0:
                continue
            number, place = find(places, outside, out[c])
            if number < 0:
                if count == capacity:
                    capacity *= 2
                    wider = np.empty((capacity, words), np.uint64)
                    wider[:count] = outside[:count]
                    outside, places = wider, new_table(capacity)
                    for old in range(count):
                        _, place = find(places, outside, outside[old])
                        places[place] = old
                    _, place = find(places, outside, out[c])
                outside[count] = out[c]
                places[place] = count
                number = count
                count += 1
            to[entries], source[entries], values[entries] = number, k, found[c]
            entries += 1
    return outside[:count], to[:entries], source[:entries], values[:entries]


@njit(cache=True)
def applied_locally(
    rows: np.ndarray, vector: np.ndarray, local_bits: int, starts: np.ndarray, to: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """An operator of the impurity's spin orbitals on a state: distinct configurations and amplitudes.

    Args:
        rows: Configurations of the state.
        vector: Amplitudes.
        local_bits: Spin orbitals of the impurity.
        starts: Where the entries of each pattern begin.
        to: Pattern of each entry.
        values: ``<to|O|from>``.
    """
    pattern_mask = (ONE << np.uint64(local_bits)) - ONE
    capacity = 0
    for k in range(len(rows)):
        pattern = np.int64(rows[k, 0] & pattern_mask)
        capacity += starts[pattern + 1] - starts[pattern]
    made, amplitudes = np.empty((capacity, rows.shape[1]), np.uint64), np.empty(capacity, vector.dtype)
    table, count, new = new_table(capacity), 0, np.empty(rows.shape[1], np.uint64)
    for k in range(len(rows)):
        pattern = np.int64(rows[k, 0] & pattern_mask)
        for entry in range(starts[pattern], starts[pattern + 1]):
            for w in range(len(new)):
                new[w] = rows[k, w]
            new[0] = (rows[k, 0] & ~pattern_mask) | np.uint64(to[entry])
            number, place = find(table, made, new)
            if number < 0:
                made[count] = new
                amplitudes[count] = 0.0
                table[place] = count
                number = count
                count += 1
            amplitudes[number] += values[entry] * vector[k]
    return made[:count], amplitudes[:count]


@njit(cache=True)
def one_body_density(rows: np.ndarray, table: np.ndarray, vector: np.ndarray, n_orbitals: int) -> np.ndarray:
    """``<c+_i c_j>`` of all spin orbitals."""
    density = np.zeros((n_orbitals, n_orbitals), vector.dtype)
    moved = np.empty(rows.shape[1], np.uint64)
    for k in range(len(rows)):
        for j in range(n_orbitals):
            if not is_set(rows[k], j):
                continue
            density[j, j] += abs(vector[k]) ** 2
            for i in range(j):
                if is_set(rows[k], i):
                    continue
                for w in range(len(moved)):
                    moved[w] = rows[k, w]
                moved[j >> 6] ^= ONE << np.uint64(j & 63)
                moved[i >> 6] ^= ONE << np.uint64(i & 63)
                number, _ = find(table, rows, moved)
                if number < 0:
                    continue
                value = np.conj(vector[number]) * vector[k]
                if (rank(rows[k], j) + rank(rows[k], i)) & ONE:
                    value = -value
                density[i, j] += value
                density[j, i] += np.conj(value)
    return density


@njit(cache=True)
def spin_raised(rows: np.ndarray, vector: np.ndarray, n_orbitals: int) -> np.ndarray:
    """Amplitudes of ``S+`` on a state, one for each distinct configuration that it makes."""
    capacity, count = 16, 0
    for k in range(len(rows)):
        for orbital in range(n_orbitals):
            if is_set(rows[k], 2 * orbital + 1) and not is_set(rows[k], 2 * orbital):
                capacity += 1
    made, amplitudes = np.empty((capacity, rows.shape[1]), np.uint64), np.zeros(capacity, vector.dtype)
    table, new = new_table(capacity), np.empty(rows.shape[1], np.uint64)
    for k in range(len(rows)):
        for orbital in range(n_orbitals):
            up = 2 * orbital
            if not is_set(rows[k], up + 1) or is_set(rows[k], up):
                continue
            for w in range(len(new)):
                new[w] = rows[k, w]
            new[up >> 6] ^= np.uint64(3) << np.uint64(up & 63)  # both bits are in one word, and no sign arises
            number, place = find(table, made, new)
            if number < 0:
                made[count] = new
                table[place] = count
                number = np.int64(count)
                count += 1
            amplitudes[number] += vector[k]
    return amplitudes[:count]
