"""Adaptive integer models: bits that learn, and numbers made of them.

Normative text: spec/vgm-1-lattice.md, "Models".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from .lattice_range import code_bit, code_uniform

I64 = npt.NDArray[np.int64]

LIMIT = 96  # observations after which a bit stops slowing down
RATES = np.array([(65536 * 2) // (2 * n + 3) for n in range(LIMIT + 1)], np.int64)
NUMBER_CONTEXTS = 64  # contexts that one number uses
MAX_PREFIX = 20  # a number's magnitude is below 2^20 - 1


def new_models(contexts: int) -> I64:
    """Models of `contexts` bits, int64 [contexts, 2]: probability of 1 in 1/65536, observations."""
    models = np.zeros((contexts, 2), np.int64)
    models[:, 0] = 32768
    return models


@njit(cache=True, nogil=True)
def code_learned(rc, buf, models, at, bit):  # type: ignore[no-untyped-def]
    """Code one bit by the model `at`, and let the model learn it."""
    p = models[at, 0]
    bit = code_bit(rc, buf, p, bit)
    n = models[at, 1]
    p += (((bit << 16) - p) * RATES[n]) >> 16
    models[at, 0] = min(max(p, np.int64(64)), np.int64(65536 - 64))
    if n < LIMIT:
        models[at, 1] = n + 1
    return bit


@njit(cache=True, nogil=True)
def code_magnitude(rc, buf, models, at, value):  # type: ignore[no-untyped-def]
    """Code 0 <= value < 2^20 - 1 as exp-Golomb: a learned unary prefix, then bits, the first two learned."""
    prefix = np.int64(0)
    v = value + 1
    while True:
        more = code_learned(rc, buf, models, at + prefix, np.int64(v >> (prefix + 1) > 0))
        if more == 0 or prefix == MAX_PREFIX - 1:
            break
        prefix += 1
    out = np.int64(1)
    for i in range(prefix):
        bit = (v >> (prefix - 1 - i)) & 1
        if i == 0:
            bit = code_learned(rc, buf, models, at + 20 + prefix, bit)
        elif i == 1:
            bit = code_learned(rc, buf, models, at + 40 + 2 * min(prefix, np.int64(8)) + (out & 1), bit)
        else:
            bit = code_uniform(rc, buf, np.int64(2), bit)
        out = (out << 1) | bit
    return out - 1


@njit(cache=True, nogil=True)
def code_number(rc, buf, models, at, value):  # type: ignore[no-untyped-def]
    """Code a signed number in the contexts at .. at + NUMBER_CONTEXTS + 1."""
    zero = code_learned(rc, buf, models, at, np.int64(value == 0))
    if zero == 1:
        return np.int64(0)
    negative = code_learned(rc, buf, models, at + 1, np.int64(value < 0))
    magnitude = code_magnitude(rc, buf, models, at + 2, abs(value) - 1) + 1
    return -magnitude if negative == 1 else magnitude
