"""Steps of Gaussians in plain Python, the same bits as libvgm/encoder's steps and axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Matrix = list[list[float]]

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
DAMPING = 0.02
PI32 = 5.568327996831708
UNIT = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def rows_of(values: F64) -> Matrix:
    return [[float(v) for v in row] for row in values.reshape(3, 3)]


def product(a: Matrix, b: Matrix) -> Matrix:
    return [[a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j] for j in range(3)] for i in range(3)]


def transposed(a: Matrix) -> Matrix:
    return [[a[j][i] for j in range(3)] for i in range(3)]


def symmetric(six: Sequence[float]) -> Matrix:
    out = [[0.0] * 3 for _ in range(3)]
    for (i, j), v in zip(PAIRS, six, strict=True):
        out[i][j] = out[j][i] = float(v)
    return out


def sandwich(a: Matrix, s: Matrix) -> list[float]:
    t = product(a, s)
    return [t[i][0] * a[j][0] + t[i][1] * a[j][1] + t[i][2] * a[j][2] for i, j in PAIRS]


def divided(a: float, b: float) -> float:
    """As processors divide."""
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


def adjugate(b: Matrix) -> tuple[Matrix, float]:
    rows = []
    for r in range(3):
        p, q = (r + 1) % 3, (r + 2) % 3
        rows.append(
            [
                b[1][p] * b[2][q] - b[2][p] * b[1][q],
                b[2][p] * b[0][q] - b[0][p] * b[2][q],
                b[0][p] * b[1][q] - b[1][p] * b[0][q],
            ]
        )
    return rows, b[0][0] * rows[0][0] + b[1][0] * rows[0][1] + b[2][0] * rows[0][2]


def inverse(b: Matrix) -> Matrix:
    rows, det = adjugate(b)
    return [[divided(v, det) for v in row] for row in rows]


def norm(b: Matrix) -> float:
    total = 0.0
    for row in b:
        for v in row:
            total += v * v
    return math.sqrt(total)


def near_bounds(b: Matrix, least: float, most: float) -> bool:
    return norm(inverse(b)) > 0.99 / least or norm(b) > 0.99 * most


def covariances(b: F64) -> F64:
    out = np.empty((len(b), 6))
    for n, m in enumerate(map(rows_of, b)):
        out[n] = [m[i][0] * m[j][0] + m[i][1] * m[j][1] + m[i][2] * m[j][2] for i, j in PAIRS]
    return out


def volumes(b: F64) -> F64:
    return np.array([abs(adjugate(rows_of(m))[1]) for m in b])


def dot(one: F64, other: F64) -> float:
    sums, total = [0.0] * 10, 0.0
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        sums = [s + x * y for s, x, y in zip(sums, a, b, strict=True)]
    for s in sums:
        total += s
    return total


def gradient(b: F64, w: F64, moments: F64, factor: float) -> F64:
    out = np.empty((len(b), 10))
    for n, m in enumerate(moments.tolist()):
        inv, weight = inverse(rows_of(b[n])), float(w[n]) * factor
        six = sandwich(inv, symmetric(m[5:]))
        first = [weight * (row[0] * m[2] + row[1] * m[3] + row[2] * m[4]) for row in inv]
        second = [weight * v * (1.0 if i == j else 2.0) for v, (i, j) in zip(six, PAIRS, strict=True)]
        out[n] = [m[0] * factor, *first, *second]
    return out


def solve(
    weight: float, scales: Sequence[float], moves: Sequence[bool], amp: float, unit: float
) -> tuple[float, list[float]]:
    a, b = 1.0 + DAMPING, 0.75 * (1.0 + DAMPING) - 0.25
    m = float(sum(moves))
    both = b + 0.25 * m
    det = a * both - 0.25 * m
    r0 = weight * amp / unit
    r = [v / unit if free else 0.0 for v, free in zip(scales, moves, strict=True)]
    total = 0.0
    for v in r:
        total += v
    w, s = (r0 * both - 0.5 * total) / det, (a * total - 0.5 * m * r0) / det
    common = 0.5 * w + 0.25 * s
    return w * amp, [(v - common) / b if free else 0.0 for v, free in zip(r, moves, strict=True)]


def precondition(b: F64, w: F64, slope: F64, floor: float, bounds: tuple[float, float] | None) -> F64:
    out = np.empty((len(b), 10))
    for n, g in enumerate(slope.tolist()):
        m, weight = rows_of(b[n]), float(w[n])
        size = math.sqrt(weight * weight + floor * floor)
        amp = -size if weight < 0 else size
        unit = amp * amp * PI32 * abs(adjugate(m)[1])
        scale = 1.0 / (unit * (1.0 + DAMPING))
        out[n, 1:4] = [v * (2.0 * scale) for v in g[1:4]]
        if bounds is not None and near_bounds(m, *bounds):
            out[n, 0], out[n, 4:] = solved_at_bounds(b[n], g, amp, unit, *bounds)
            continue
        out[n, 0], scales = solve(g[0], [g[4], g[7], g[9]], [True] * 3, amp, unit)
        out[n, 4:] = [scales[i] if i == j else v * scale for v, (i, j) in zip(g[4:], PAIRS, strict=True)]
    return out


def solved_at_bounds(
    b: F64, g: Sequence[float], amp: float, unit: float, least: float, most: float
) -> tuple[float, list[float]]:
    lengths, axes = principal_axes(b)
    turn = rows_of(axes)
    halves = [v if i == j else v / 2.0 for v, (i, j) in zip(g[4:], PAIRS, strict=True)]
    six = sandwich(turn, symmetric(halves))
    diagonal = [six[0], six[3], six[5]]
    nothing = abs(g[0] * amp)
    for v in g[4:]:
        nothing += abs(v)
    nothing *= 1e-9
    moves = [
        not ((s < 1.02 * least and d > -nothing) or (s > 0.98 * most and d < nothing))
        for s, d in zip(lengths.tolist(), diagonal, strict=True)
    ]
    weight, scales = solve(g[0], diagonal, moves, amp, unit)
    wide = 2.0 / (unit * (1.0 + DAMPING))
    step = symmetric([scales[i] if i == j else v * wide for v, (i, j) in zip(six, PAIRS, strict=True)])
    return weight, sandwich(transposed(turn), step)


def hold_bounds(b: F64, direction: F64, least: float, most: float) -> F64:
    out = direction.copy()
    for n in range(len(b)):
        if not near_bounds(rows_of(b[n]), least, most):
            continue
        lengths, axes = principal_axes(b[n])
        s = symmetric(direction[n, 4:].tolist())
        for length, v in zip(lengths.tolist(), rows_of(axes), strict=True):
            along = 0.0
            for r in range(3):
                along += v[r] * (s[r][0] * v[0] + s[r][1] * v[1] + s[r][2] * v[2])
            if (length < 1.02 * least and along < 0) or (length > 0.98 * most and along > 0):
                s = [[s[i][j] - along * v[i] * v[j] for j in range(3)] for i in range(3)]
        out[n, 4:] = [s[i][j] for i, j in PAIRS]
    return out


def cleared(b: F64, table: F64, gradients: bool, least: float, most: float) -> F64:
    out = table.copy()
    for n in range(len(b)):
        if not near_bounds(rows_of(b[n]), least, most):
            continue
        lengths, axes = principal_axes(b[n])
        both = [2.0 if gradients and i != j else 1.0 for i, j in PAIRS]
        s = symmetric([v / k for v, k in zip(table[n, 4:].tolist(), both, strict=True)])
        for length, v in zip(lengths.tolist(), rows_of(axes), strict=True):
            if not (length < 1.02 * least or length > 0.98 * most):
                continue
            along = 0.0
            for r in range(3):
                along += v[r] * (s[r][0] * v[0] + s[r][1] * v[1] + s[r][2] * v[2])
            s = [[s[i][j] - along * v[i] * v[j] for j in range(3)] for i in range(3)]
        out[n, 4:] = [s[i][j] * k for (i, j), k in zip(PAIRS, both, strict=True)]
    return out


def between(mu: F64, b: F64, w: F64, new_mu: F64, new_b: F64, new_w: F64) -> F64:
    out = np.zeros((len(b), 10))
    for n in range(len(b)):
        one, other = rows_of(b[n]), rows_of(new_b[n])
        turn, d = inverse(one), (new_mu[n] - mu[n]).tolist()
        out[n, 0] = new_w[n] - w[n]
        out[n, 1:4] = [row[0] * d[0] + row[1] * d[1] + row[2] * d[2] for row in turn]
        if one != other:
            x = product(turn, other)
            y = inverse(x)
            out[n, 4:] = [((x[i][j] + x[j][i]) - (y[i][j] + y[j][i])) / 4.0 for i, j in PAIRS]
    return out


def directions(b: F64, step: F64) -> F32:
    out = np.empty((len(b), 10), np.float32)
    for n, d in enumerate(step.tolist()):
        turned = transposed(inverse(rows_of(b[n])))
        six = sandwich(turned, symmetric(d[4:]))
        out[n, 0] = d[0]
        out[n, 1:4] = [row[0] * d[1] + row[1] * d[2] + row[2] * d[3] for row in turned]
        out[n, 4:] = [v * (1.0 if i == j else 2.0) for v, (i, j) in zip(six, PAIRS, strict=True)]
    return out


def clamped(b: Matrix, least: float, most: float) -> Matrix:
    tight, wide = norm(inverse(b)), norm(b)
    if not tight * wide < 1e6:
        return UNIT
    if not (tight > 1.0 / least or wide > most):
        return b
    lengths, axes = principal_axes(np.array(b))
    turn = rows_of(axes)
    scaled = [
        [min(max(s, least), most) / s * v for v in row] for s, row in zip(lengths.tolist(), turn, strict=True)
    ]
    return product(b, product(transposed(turn), scaled))


def exponential(s: Matrix) -> Matrix:
    s2 = product(s, s)
    s3, s4 = product(s2, s), product(s2, s2)
    return [
        [UNIT[i][j] + s[i][j] + s2[i][j] / 2.0 + s3[i][j] / 6.0 + s4[i][j] / 24.0 for j in range(3)]
        for i in range(3)
    ]


def move(
    mu: F64,
    b: F64,
    w: F64,
    step: F64,
    alpha: float,
    bounds: tuple[float, float] | None,
    shapes: npt.NDArray[np.bool_] | None,
) -> tuple[F64, F64, F64]:
    new_mu, new_b, new_w = mu.copy(), b.copy(), w.copy()
    for n in range(len(b)):
        m, d = rows_of(b[n]), [v * alpha for v in step[n].tolist()]
        big = math.sqrt(d[1] * d[1] + d[2] * d[2] + d[3] * d[3])
        big = max(big, max(abs(v) for v in d[4:]) / 0.5)
        if not big < 1.0:
            d = [v / big for v in d]
        new_mu[n] = [mu[n, k] + (m[k][0] * d[1] + m[k][1] * d[2] + m[k][2] * d[3]) for k in range(3)]
        new_w[n] = w[n] + d[0]
        if bounds is not None and (shapes is None or shapes[n, 4]):
            new_b[n] = clamped(product(m, exponential(symmetric(d[4:]))), *bounds)
    return new_mu, new_b, new_w


def principal_axes(b: F64) -> tuple[F64, F64]:
    """Lengths [3] and directions [3, 3] of one matrix, by cyclic rotations of B'B."""
    s = [
        [float(b[0, i] * b[0, j] + b[1, i] * b[1, j] + b[2, i] * b[2, j]) for j in range(3)] for i in range(3)
    ]
    v = [[float(i == j) for j in range(3)] for i in range(3)]
    for _ in range(12):
        off = s[0][1] * s[0][1] + s[0][2] * s[0][2] + s[1][2] * s[1][2]
        if not off > 1e-30 * (s[0][0] * s[0][0] + s[1][1] * s[1][1] + s[2][2] * s[2][2]):
            break
        for p, q in ((0, 1), (0, 2), (1, 2)):
            if s[p][q] == 0.0:
                continue
            theta = 0.5 * (s[q][q] - s[p][p]) / s[p][q]
            t = math.copysign(1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0)), theta if theta else 1.0)
            c = 1.0 / math.sqrt(t * t + 1.0)
            d = t * c
            for m in (s, v):
                for k in range(3):
                    x, y = m[k][p], m[k][q]
                    m[k][p], m[k][q] = c * x - d * y, d * x + c * y
            for k in range(3):
                x, y = s[p][k], s[q][k]
                s[p][k], s[q][k] = c * x - d * y, d * x + c * y
    return np.array([math.sqrt(max(s[k][k], 0.0)) for k in range(3)]), np.array(v).T
