"""Matrix products whose last bit does not depend on how many threads the BLAS may use.

OpenBLAS, which NumPy's wheels bring, splits a product over threads only above about 2**18 multiplications, and a
split may change the order of summation. Products are therefore cut into pieces below that size; at the sizes of the
built-in detectors this costs next to nothing.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)

MULTIPLICATIONS = 2**18


def stable_product(left: NDArray[Float], right: NDArray[Float]) -> NDArray[Float]:
    """Return `left @ right`, (n, k) by (k, m), computed in pieces that stay on one thread."""
    (n, k), m = left.shape, right.shape[1]
    rows = max(1, MULTIPLICATIONS // (k * m))
    padded = np.zeros((-(-n // rows) * rows, k), dtype=left.dtype)
    padded[:n] = left
    product: NDArray[Float] = (padded.reshape(-1, rows, k) @ right).reshape(-1, m)
    return product[:n]
