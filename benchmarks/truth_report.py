"""Tables and a plot of truth.csv: ours, the stack itself and the best peer against the truth.

python benchmarks/truth_report.py [--table truth.csv] [--output DIRECTORY]
"""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases
import keyed_csv
import numpy as np
from truth import OURS, PEERS, REFERENCES, STACK, TABLE, Row

Group = dict[tuple[str, float], Row]
Groups = dict[tuple[str, int], Group]
ROUNDED = ("psnr", "psnr_fg")
FLOAT = ("psnr_float", "psnr_fg_float")
METRICS = ("psnr", "psnr_fg", "mip_ssim", "ssim", *FLOAT, "mip_ssim_float")
NAMES = {"psnr": "PSNR, dB", "psnr_fg": "foreground PSNR, dB", "mip_ssim": "MIP SSIM", "ssim": "3-D SSIM"}
DETAILS = ("stack, photons", "itself", "vgm", "bytes", "best peer", "vgm, float32", "best peer, float32",
           "MIP SSIM: itself", "vgm", "best peer",
           "objects: truth", "itself", "vgm", "error of their intensity")  # fmt: skip
# More bytes, or points, may cost this much and no more.
LOSS_DB = 0.05


def main(argv: Sequence[str] | None = None) -> None:
    """Write truth.md and truth.png and print the former."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--output", type=Path, default=TABLE.parent)
    args = parser.parse_args(argv)
    groups = read_groups(args.table)
    text = "\n".join([*_head(groups), *_averages(groups), *_details(groups), *_variants(groups)]) + "\n"
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "truth.md").write_text(text)
    _plot(groups, args.output / "truth.png")
    print(text)


def read_groups(table: Path) -> Groups:
    """The rows of each stack and photon number by (codec, ratio), in the order of the cases."""
    found: Groups = defaultdict(dict)
    for row in keyed_csv.read(table, Row):
        found[row.stack, row.photons][row.codec, row.ratio] = row
    return {case: found[case] for case in cases.names() if case in found}


def value(row: Row | None, metric: str) -> float | None:
    """A metric of a row; None where there is none."""
    number: float | None = None if row is None else getattr(row, metric)
    return number


def best_peer(group: Group, ratio: float, metric: str) -> tuple[str, float] | None:
    """The best peer at a ratio; its smaller files count as well, as they do for a codec that ends early."""
    found = [
        (number, codec)
        for (codec, r), row in group.items()
        if codec in PEERS and r >= ratio and (number := value(row, metric)) is not None
    ]
    return (max(found)[1], max(found)[0]) if found else None


def _ratios(groups: Groups) -> list[float]:
    return sorted({ratio for group in groups.values() for codec, ratio in group if codec not in REFERENCES})


def _head(groups: Groups) -> list[str]:
    peers = [p for p in PEERS if any(codec == p for g in groups.values() for codec, _ in g)]
    return [
        "# Against the truth",
        "",
        "Each codec is given the noisy stack and measured against the truth behind it. PSNR in dB, peak ="
        " p99.99 - p0.01 of the truth; in brackets its foreground. A file is at most as large as the ratio"
        " asks for; where a smaller file of a peer is better, that one counts."
        f" Peers: {', '.join(peers)}. **Bold**: a peer is ahead of `vgm`. The stacks are small, and the"
        " headers of a video's frames, 19 to 30 bytes each, are up to half of its file at 400x. Under"
        " float32 both are decoded without rounding to whole counts (`--float32`): at 30 photons phantoms'"
        " truth, rounded, has 34 to 37 dB itself (rows `rounded-truth`), and so has every codec at most.",
        "",
        f"Rows measured: {_coverage(groups)}.",
        "",
    ]


def _coverage(groups: Groups) -> str:
    """How many rows each codec has of those there could be; what is not there could be better."""
    ratios = _ratios(groups)
    counts = Counter(codec for g in groups.values() for codec, _ in g)
    return ", ".join(f"{c} {counts[c]}" for c in (*OURS, *PEERS) if counts[c]) + (
        f", each of {len(groups)} stacks x {len(ratios)} ratios = {len(groups) * len(ratios)}"
    )


def _header(columns: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def _averages(groups: Groups) -> list[str]:
    """Ours over the best peer and over the stack, a line a ratio."""
    lines = ["## Averages over stacks", ""]
    columns = ("ratio", "stacks", "PSNR over the stack itself", "over the best peer", "worst",
               "foreground over the best peer", "worst", "MIP SSIM over the best peer", "worst",
               "float32: over the best peer", "worst", "foreground", "worst",
               "MIP SSIM", "worst")  # fmt: skip
    lines += _header(columns)
    for ratio in _ratios(groups):
        gains: dict[str, list[float]] = defaultdict(list)
        for group in groups.values():
            ours = group.get(("vgm", ratio))
            if (mine := value(ours, "psnr")) is None:
                continue
            if (noisy := value(group.get((STACK, 1.0)), "psnr")) is not None:
                gains[STACK].append(mine - noisy)
            for metric in METRICS:
                best, mine = best_peer(group, ratio, metric), value(ours, metric)
                if best and mine is not None:
                    gains[metric].append(mine - best[1])
        if not gains["psnr"]:
            continue
        cells = [f"{ratio:g}x", f"{len(gains['psnr'])}", f"{np.mean(gains[STACK]):+.2f}"]
        for metric in (*ROUNDED, "mip_ssim", *FLOAT, "mip_ssim_float"):
            digits = 4 if metric.startswith("mip_ssim") else 2
            cells += [f"{v:+.{digits}f}" for v in (np.mean(gains[metric]), min(gains[metric]))]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _details(groups: Groups) -> list[str]:
    lines = []
    for ratio in _ratios(groups):
        rows = [_detail(case, group, ratio) for case, group in groups.items()]
        if not any(rows):
            continue
        lines += [f"## {ratio:g}x", "", *_header(DETAILS), *filter(None, rows), ""]
    return lines


def _detail(case: tuple[str, int], group: Group, ratio: float) -> str:
    ours, noisy = group.get(("vgm", ratio)), group.get((STACK, 1.0))
    best = {metric: best_peer(group, ratio, metric) for metric in METRICS}
    if ours is None and best["psnr"] is None:
        return ""
    mip = best["mip_ssim"]
    truth = noisy or ours
    cells = [
        f"{case[0]}, {case[1]}",
        _decibels(noisy),
        _decibels(ours),
        f"{ours.bytes}" if ours and ours.bytes else "-",
        _peer(ours, best, ROUNDED),
        _decibels(ours, FLOAT),
        _peer(ours, best, FLOAT),
        _number(value(noisy, "mip_ssim"), 3),
        _number(value(ours, "mip_ssim"), 3),
        f"{mip[1]:.3f} {mip[0]}" if mip else "-",
        f"{truth.objects_truth}" if truth else "-",
        f"{noisy.objects}" if noisy else "-",
        f"{ours.objects}" if ours else "-",
        _percent(ours),
    ]
    return "| " + " | ".join(cells) + " |"


def _peer(ours: Row | None, best: dict[str, tuple[str, float] | None], metrics: tuple[str, str]) -> str:
    """The best peer, and whether it is ahead of ours."""
    whole, inside = (best[m] for m in metrics)
    if whole is None or inside is None:
        return "-"
    ahead = any(
        (mine := value(ours, m)) is not None and (peer := best[m]) is not None and peer[1] > mine
        for m in metrics
    )
    peer = f"{whole[1]:.1f} ({inside[1]:.1f}) {whole[0]}"
    return f"**{peer}**" if ahead else peer


def _decibels(row: Row | None, metrics: tuple[str, str] = ROUNDED) -> str:
    whole, inside = (value(row, m) for m in metrics)
    return "-" if whole is None or inside is None else f"{whole:.1f} ({inside:.1f})"


def _number(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def _percent(row: Row | None) -> str:
    error = value(row, "object_error")
    return "-" if error is None or math.isnan(error) else f"{100 * error:.1f} %"


FOLLOWS_NOISE = "vgm-voxels"


def _variants(groups: Groups) -> list[str]:
    """Where ours is worse than by another setting, or with more bytes than with fewer.

    But for ``vgm-voxels``, which spends bytes on noise: most of its larger files are further from the truth.
    """
    lines = []
    for (stack, photons), group in groups.items():
        for (codec, ratio), row in group.items():
            if codec not in OURS or row.psnr is None:
                continue
            for (other, r), rival in group.items():
                fewer_bytes = other == codec and r > ratio and codec != FOLLOWS_NOISE
                other_setting = codec == "vgm" and other in OURS and r == ratio
                if (fewer_bytes or other_setting) and rival.psnr and rival.psnr - row.psnr > LOSS_DB:
                    loss = f"{rival.psnr - row.psnr:.2f} dB"
                    lines.append(
                        f"- {stack}, {photons} photons: {codec} {ratio:g}x {loss} below {other} {r:g}x"
                    )
    return ["## Where more bytes or points cost quality", "", *(lines or ["Nowhere."]), ""]


def _plot(groups: Groups, path: Path) -> None:
    """PSNR over the ratio, a panel a stack."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = 4
    rows = max(-(-len(groups) // columns), 1)
    figure, grid = plt.subplots(rows, columns, figsize=(3.1 * columns, 2.4 * rows), layout="constrained")
    panels: list[Any] = list(np.atleast_1d(grid).flat)
    for axis, ((stack, photons), group) in zip(panels, groups.items(), strict=False):
        _panel(axis, group)
        axis.set_title(f"{stack}, {photons} photons", fontsize=8)
    for axis in panels[len(groups) :]:
        axis.set_axis_off()
    lines = {line.get_label(): line for axis in panels for line in axis.lines}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines) or 1, fontsize=8)
    figure.supylabel("PSNR against the truth, dB, over the ratio", fontsize=9)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def _panel(axis: Any, group: Group) -> None:
    for codec in (*PEERS, *OURS):
        points = sorted((r, row.psnr) for (c, r), row in group.items() if c == codec and row.psnr is not None)
        if not points:
            continue
        if codec in OURS:
            style = {"color": "black", "linewidth": 2.2, "zorder": 3,
                     "linestyle": ("-", ":", "--")[list(OURS).index(codec)]}  # fmt: skip
        else:
            style = {"color": f"C{PEERS.index(codec)}", "linewidth": 1}
        axis.plot(*zip(*points, strict=True), marker="o", markersize=2.5, label=codec, **style)
    if (noisy := value(group.get((STACK, 1.0)), "psnr")) is not None:
        axis.axhline(noisy, color="grey", linestyle="--", linewidth=1, label="the stack itself")
    axis.set_xscale("log")
    axis.set_xticks([50, 100, 200, 400, 800], ["50", "100", "200", "400", "800"])
    axis.minorticks_off()
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
