"""Adaptive integer models: bits that learn, and numbers made of them.

Normative text: spec/vgm-1-lattice.md, "Models". Numbers without a model are exp-Golomb codes (Teuhola,
Information Processing Letters 7, 308, 1978).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..jit import njit
from .lattice_priors import AMPLITUDE_PRIOR
from .lattice_range import code_bit, code_part, code_uniform
from .lattice_steps import exp2_fixed

I64 = npt.NDArray[np.int64]

LIMIT = 96  # observations after which a bit stops slowing down
RATES = np.array([(65536 * 2) // (2 * n + 3) for n in range(LIMIT + 1)], np.int64)
PRIOR_WEIGHT = 10  # observations that the amplitudes' starting probabilities count for


def amplitude_models() -> I64:
    """Bits of the amplitudes' trees, int64 [4 * 32, 2]: probability of 1 in 1/65536, observations."""
    models = np.full((128, 2), PRIOR_WEIGHT, np.int64)
    models[:, 0] = AMPLITUDE_PRIOR.reshape(-1) << 8
    return models


@njit(cache=True, nogil=True)
def code_learned(rc, buf, models, at, bit):  # type: ignore[no-untyped-def]
    """Code one bit by the model `at`, and let the model learn it."""
    p = models[at, 0]
    code_bit(rc, buf, p, bit)
    n = models[at, 1]
    p += (((bit << 16) - p) * RATES[n]) >> 16
    models[at, 0] = min(max(p, np.int64(64)), np.int64(65536 - 64))
    if n < LIMIT:
        models[at, 1] = n + 1


# --- numbers with a predicted distribution ---------------------------------------------------------

ONE = 4096  # of a feature
FEATURES = 10
TOTAL = 1 << 20
LOGISTIC = np.array([round(TOTAL / (1.0 + 2.718281828459045 ** (-i / 16.0))) for i in range(193)], np.int64)
MEAN_LIMIT = 64 << 16
BIAS_RATES = np.array([65536 // (n + 16) for n in range(257)], np.int64)


@njit(cache=True, nogil=True)
def logistic(z):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-z)) in 2^-20, z in 2^-16."""
    a = abs(z)
    if a >= 12 << 16:
        f = LOGISTIC[192]
    else:
        i = a >> 12
        f = LOGISTIC[i] + (((LOGISTIC[i + 1] - LOGISTIC[i]) * (a & 4095)) >> 12)
    return f if z >= 0 else TOTAL - f


@njit(cache=True, nogil=True)
def _cumulative(bin_, width, start, mean, inverse, first, room):  # type: ignore[no-untyped-def]
    z = ((bin_ * width - start - mean) * inverse) >> 24
    return ((logistic(z) * (TOTAL - room)) >> 20) + (bin_ - first) + 1


@njit(cache=True, nogil=True)
def code_excess(rc, buf, value):  # type: ignore[no-untyped-def]
    """Code value >= 0 as exp-Golomb in plain bits."""
    v = value + 1
    prefix = np.int64(0)
    while prefix < 24:
        more = np.int64(v >> (prefix + 1) > 0)
        code_uniform(rc, buf, np.int64(2), more)
        if more == 0:
            break
        prefix += 1
    code_uniform(rc, buf, np.int64(1) << prefix, v - (np.int64(1) << prefix))


@njit(cache=True, nogil=True)
def code_predicted(rc, buf, weights, seen, x, mean_count, spread_count, step, start, value):  # type: ignore[no-untyped-def]
    """Code the number whose real value is near value * step, by a logistic distribution that learns.

    Parameters
    ----------
    weights : int64 [2, FEATURES]
        Of the mean and of the log2 of the spread, in 2^-16.
    seen : int64 [1]
        How many such numbers came before.
    x : int64 [2, FEATURES]
        Features of the mean and of the spread, in 1 / ONE; the first of each is ONE.
    """
    mean = np.int64(0)
    for k in range(mean_count):
        mean += weights[0, k] * x[0, k]
    mean = min(max(mean >> 12, np.int64(-MEAN_LIMIT)), np.int64(MEAN_LIMIT))
    spread = np.int64(0)
    for k in range(spread_count):
        spread += weights[1, k] * x[1, k]
    spread = min(max(spread >> 12, np.int64(-9 << 16)), np.int64(5 << 16))
    scale = exp2_fixed(spread) >> 14
    inverse = (np.int64(1) << 40) // scale
    fine = np.int64(0)
    while (step << (fine + 4)) < scale:
        fine += 1
    width = step << fine
    reach = (12 * scale) // width + 2
    first = (mean + start) // width - reach
    last = first + 2 * reach
    room = 2 * reach + 3
    coarse = value >> fine
    bin_ = min(max(coarse, first - 1), last + 1)
    below = np.int64(0)
    above = np.int64(TOTAL)
    if bin_ >= first:
        below = _cumulative(bin_, width, start, mean, inverse, first, room)
    if bin_ <= last:
        above = _cumulative(bin_ + 1, width, start, mean, inverse, first, room)
    code_part(rc, buf, below, above)
    if bin_ < first:
        code_excess(rc, buf, bin_ - coarse)
    elif bin_ > last:
        code_excess(rc, buf, coarse - bin_)
    code_uniform(rc, buf, np.int64(1) << fine, value & ((1 << fine) - 1))

    # learn: the gradient of the logarithm of the probability of the bin
    za = ((bin_ * width - start - mean) * inverse) >> 24
    zb = (((bin_ + 1) * width - start - mean) * inverse) >> 24
    za = min(max(za, np.int64(-16 << 16)), np.int64(16 << 16))
    zb = min(max(zb, np.int64(-16 << 16)), np.int64(16 << 16))
    fa = logistic(za)
    fb = logistic(zb)
    pull = (3 * scale * (fa + fb - TOTAL)) >> 20
    da = (fa * (TOTAL - fa)) >> 20
    db = (fb * (TOTAL - fb)) >> 20
    widen = (za * da - zb * db) // max(fb - fa, np.int64(1))
    widen = min(max(widen, np.int64(-65536)), np.int64(3 << 16))
    rate = BIAS_RATES[min(seen[0], np.int64(256))]
    seen[0] += 1
    weights[0, 0] += (pull * rate) >> 16
    for k in range(1, mean_count):
        weights[0, k] += (pull * x[0, k]) >> 19
    weights[1, 0] += (widen * rate) >> 16
    for k in range(1, spread_count):
        weights[1, k] += (widen * x[1, k]) >> 20


@njit(cache=True, nogil=True)
def code_sign(rc, buf, weights, x, count, bit):  # type: ignore[no-untyped-def]
    """Code one bit by a logistic regression that learns."""
    z = np.int64(0)
    for k in range(count):
        z += weights[k] * x[k]
    p = min(max(logistic(z >> 12) >> 4, np.int64(256)), np.int64(65536 - 256))
    code_bit(rc, buf, p, bit)
    error = (bit << 16) - p
    for k in range(count):
        weights[k] += (error * x[k]) >> 17


@njit(cache=True, nogil=True)
def log2_fixed(v):  # type: ignore[no-untyped-def]
    """About log2(v) in 2^-16, v >= 1: exact at powers of two, straight between them."""
    e = np.int64(0)
    while (v >> (e + 1)) > 0:
        e += 1
    if e >= 16:
        return (e << 16) + ((v - (np.int64(1) << e)) >> (e - 16))
    return (e << 16) + ((v - (np.int64(1) << e)) << (16 - e))
