"""Random orders of any number of rows in constant memory: a place is computed when it is read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ROUNDS = 6
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Permutation:
    """A random permutation of 0 to `count` - 1; `permutation[places]` takes a number or an array of places `[K]`.

    A Feistel network on the pairs (i % a, i // a), a the root of `count`; places that leave the range are permuted again.

    Source: Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains", with the mixing function of SplitMix64.
    """

    def __init__(self, count: int, random: np.random.RandomState) -> None:
        self.count = count
        self.width = max(1, int(np.ceil(np.sqrt(count))))
        self.height = max(1, -(-count // self.width))
        self.keys = random.randint(0, 1 << 62, ROUNDS, np.uint64)

    def __getitem__(self, places: int | np.ndarray) -> int | np.ndarray:
        found = self._permuted(np.atleast_1d(np.asarray(places, np.uint64)))
        while (outside := found >= self.count).any():
            found[outside] = self._permuted(found[outside])
        return int(found[0]) if np.ndim(places) == 0 else found.astype(np.int64)

    def _permuted(self, places: np.ndarray) -> np.ndarray:
        width, height = np.uint64(self.width), np.uint64(self.height)
        low, high = places % width, places // width
        for number, key in enumerate(self.keys):
            if number % 2:
                low = (low + _mixed(high ^ key) % width) % width
            else:
                high = (high + _mixed(low ^ key) % height) % height
        return high * width + low


def _mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser; products are modulo 2^64."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))


class ShuffledRows:
    """The first `used` of `count` rows in a random order, read by slices that lie within a chunk.

    sort: sorts the rows of a chunk `[chunk]`; None keeps their order.
    """

    def __init__(
        self, count: int, used: int, chunk: int, random: np.random.RandomState, sort: Callable[[np.ndarray], np.ndarray] | None
    ) -> None:
        self.order, self.used, self.chunk, self.sort = Permutation(count, random), used, chunk, sort

    def __getitem__(self, places: slice) -> np.ndarray:
        stop = min(places.stop, self.used)
        if self.sort is None:
            return self.order[np.arange(places.start, stop)]
        begin = places.start - places.start % self.chunk
        rows = self.sort(self.order[np.arange(begin, min(begin + self.chunk, self.used))])
        return rows[places.start - begin : stop - begin]
