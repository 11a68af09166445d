"""One peer on one image at several ratios: search or fit, decode, compare, and give the rows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from peers.contract import CurvePeer, FitPeer, Fitted, Peer, Trial
from peers.search import Pick, Search
from rows import METRICS, Row
from volumes import Image

from volmicro_codec.evaluate import Reference, compare

LARGE = 3_000_000  # voxels from which on fewer encodes are spent
FAILED = "failed:"  # how the settings of a row begin that is no measurement
# A curve this far behind at one ratio is not followed to the others, on large and on other images.
CLEAR_DB = (0.1, 0.5)


def measure(peer: Peer, image: Image, ratios: Sequence[float]) -> Iterator[Row]:
    """Rows of one peer on one image, one a ratio, each given as soon as it is known.

    Parameters
    ----------
    ratios : sequence of float
        In the order to work in; 200 first is best, as choices made there are kept on large images.
    """
    if isinstance(peer, CurvePeer):
        yield from _along_curves(peer, image, ratios)
    elif isinstance(peer, FitPeer):
        reference = Reference.of(image.data)
        for ratio in ratios:
            try:
                fitted = peer.fit(image, ratio)
            except Exception as failure:  # whatever a peer dies of, the others go on
                yield _row(peer, image, ratio, settings=f"{FAILED} {type(failure).__name__}: {failure}")
                continue
            yield _fitted_row(peer, image, ratio, fitted, reference)


def _along_curves(peer: CurvePeer, image: Image, ratios: Sequence[float]) -> Iterator[Row]:
    large = image.data.size > LARGE
    reference = Reference.of(image.data)
    tolerance, bracket, most = (0.03, 1.2, 9) if large else (0.01, 1.0, 10)
    searches = [Search(curve, tolerance, bracket, most) for curve in peer.curves(image)]
    for ratio in ratios:
        found: list[tuple[float, Row, Search]] = []
        notes: list[str] = []
        for search in searches:
            try:
                pick = search.run(int(image.nbytes // ratio))
                row = _picked_row(peer, image, ratio, pick, reference)
            except (RuntimeError, ValueError) as failure:
                notes.append(f"{FAILED} {search.curve.name}: {failure}")
                continue
            if row.psnr is None:
                notes.append(row.settings)
            else:
                found.append((row.psnr, row, search))
        if not found:
            yield _row(peer, image, ratio, settings="; ".join(notes))
            continue
        found.sort(key=lambda f: -f[0])
        yield found[0][1]
        clear = CLEAR_DB[0] if large else CLEAR_DB[1]
        searches = [s for psnr, _, s in found if psnr >= found[0][0] - clear]


def _picked_row(peer: Peer, image: Image, ratio: float, pick: Pick, reference: Reference) -> Row:
    """The row of the files next to a target, interpolated in log bytes where that counts."""
    lower, upper = pick.lower, pick.upper
    if lower is None:
        smallest = f"smallest file {upper.size} B at {_at(upper)}" if upper else "no file"
        return _row(peer, image, ratio, settings=f"out of reach: {smallest}")
    values = _evaluated(lower, image, reference)
    weight = pick.weight()
    if upper is not None and weight > 0:
        above = _evaluated(upper, image, reference)
        if all(math.isfinite(v) for v in (*values.values(), *above.values())):
            mixed = {m: (1 - weight) * values[m] + weight * above[m] for m in METRICS}
            note = f"{_at(lower)} ({lower.size} B) and {upper.knob:g} ({upper.size} B) interpolated at target"
            times = (lower.encode_s + upper.encode_s) / 2, (lower.decode_s + upper.decode_s) / 2
            return _row(peer, image, ratio, pick.target, mixed, *times, settings=note)
    return _row(peer, image, ratio, lower.size, values, lower.encode_s, lower.decode_s, settings=_at(lower))


def _at(trial: Trial) -> str:
    return f"{trial.curve.name}, {trial.curve.knob} {trial.knob:g}"


def _evaluated(trial: Trial, image: Image, reference: Reference) -> dict[str, float]:
    if not trial.metrics:
        began = time.perf_counter()
        decoded = trial.curve.decode(trial.payload)
        trial.decode_s = time.perf_counter() - began
        result = compare(image.data, decoded, reference=reference)
        trial.metrics = {m: result[m] for m in METRICS}
    return trial.metrics


def _fitted_row(peer: Peer, image: Image, ratio: float, fitted: Fitted, reference: Reference) -> Row:
    result = compare(image.data, fitted.decoded, reference=reference)
    values = {m: result[m] for m in METRICS}
    return _row(
        peer,
        image,
        ratio,
        fitted.size,
        values,
        fitted.encode_s,
        fitted.decode_s,
        settings=" ".join(filter(None, (fitted.settings, peer.revision()))),
    )


def _row(
    peer: Peer,
    image: Image,
    ratio: float,
    size: int | None = None,
    values: dict[str, float] | None = None,
    encode_s: float | None = None,
    decode_s: float | None = None,
    *,
    settings: str,
) -> Row:
    values = values or {}
    return Row(
        volume=image.volume,
        sha=image.sha,
        channel=image.channel,
        shape="x".join(map(str, image.data.shape)),
        dtype=image.data.dtype.name,
        peer=peer.name,
        ratio=float(ratio),
        bytes=size,
        achieved_ratio=image.nbytes / size if size else None,
        psnr=values.get("psnr"),
        psnr_fg=values.get("psnr_fg"),
        ssim=values.get("ssim"),
        mip_ssim=values.get("mip_ssim"),
        encode_s=encode_s,
        decode_s=decode_s,
        settings=settings.replace("\n", " "),
    )
