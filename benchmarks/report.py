"""Tables and plots of the rate-distortion rows: who is best where, BD-rates, one plot a channel."""

from __future__ import annotations

import csv
import datetime
import json
import math
import os
import platform
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import peers
import rows
from bd_rate import Delta, delta
from rows import Row

COMPARED = ("psnr", "psnr_fg", "mip_ssim")
LABELS = {"psnr": "PSNR, dB", "psnr_fg": "foreground PSNR, dB", "mip_ssim": "MIP SSIM"}
BD_RATIOS = (50.0, 400.0)
# Nearly lossless at 200x (its makers zeroed the background): in the tables, not in the averages.
APART = ("fly-neuron-rivulet",)

Group = dict[tuple[str, float], Row]


def write_report(table: Path, output: Path) -> str:
    """Write bd_rate.csv, summary.md, summary.json and the plots of a table; returns the summary's text."""
    measured = rows.read(table)
    groups = _groups(measured)
    deltas = _deltas(groups)
    _write_deltas(deltas, output / "bd_rate.csv")
    facts = machine()
    text = "\n".join(
        [
            "# Rate and distortion at equal file bytes",
            "",
            f"{facts['date']}, {facts['cpu']}, {facts['cores']} cores. PSNR in dB, peak = p99.99 - p0.01 "
            "of the original; fg = foreground (`volmicro_codec.evaluate`). Seconds in the CSV are "
            "of one process on a shared machine.",
            "",
            *_comparison(groups),
            *_delta_table(deltas),
            *_versions(facts),
        ]
    )
    (output / "summary.md").write_text(text + "\n")
    (output / "summary.json").write_text(
        json.dumps({**facts, "averages": _averages(groups)}, indent=1) + "\n"
    )
    _plots(groups, output)
    return text


def _groups(measured: Iterable[Row]) -> dict[tuple[str, int], Group]:
    groups: dict[tuple[str, int], Group] = defaultdict(dict)
    for row in measured:
        groups[row.volume, row.channel][row.peer, row.ratio] = row
    return dict(sorted(groups.items()))


def best_peer(group: Group, ratio: float, metric: str) -> tuple[str, float] | None:
    """Name and value of the best peer, ours apart, at a ratio."""
    values = [
        (row.metric(metric), peer) for (peer, r), row in group.items() if r == ratio and peer != peers.OURS
    ]
    found = [(value, peer) for value, peer in values if value is not None]
    if not found:
        return None
    value, peer = max(found)
    return peer, value


def _comparison(groups: dict[tuple[str, int], Group]) -> list[str]:
    """One table a ratio: the best peer and ours, on each channel."""
    lines = []
    for ratio in sorted({r for g in groups.values() for _, r in g}):
        lines += [f"## {ratio:g}x", ""]
        lines += [
            "| stack | best psnr | ours | best psnr_fg | ours | best mip_ssim | ours |",
            "|---|" + "---|" * 6,
        ]
        for (volume, channel), group in groups.items():
            cells = [f"{volume} c{channel}"]
            ours = group.get((peers.OURS, ratio))
            for metric in COMPARED:
                digits = 4 if metric == "mip_ssim" else 2
                best = best_peer(group, ratio, metric)
                mine = ours.metric(metric) if ours else None
                cells.append(f"{best[1]:.{digits}f} {best[0]}" if best else "-")
                cells.append(_against(mine, best[1] if best else None, digits))
            lines.append("| " + " | ".join(cells) + " |")
        average = _average(groups, ratio)
        if average:
            lines += ["", f"Mean PSNR over the best peer: {average['psnr']:+.2f} dB whole, "
                      f"{average['psnr_fg']:+.2f} dB foreground, {average['channels']} channels "
                      f"(without {', '.join(APART)})."]  # fmt: skip
        lines.append("")
    return lines


def _against(mine: float | None, best: float | None, digits: int) -> str:
    if mine is None:
        return "-"
    if best is None or not math.isfinite(mine - best):
        return f"{mine:.{digits}f}"
    return f"{mine:.{digits}f} ({mine - best:+.{digits}f})"


def _average(groups: dict[tuple[str, int], Group], ratio: float) -> dict[str, float] | None:
    gains: dict[str, list[float]] = {m: [] for m in COMPARED}
    for (volume, _), group in groups.items():
        ours = group.get((peers.OURS, ratio))
        if ours is None or volume in APART:
            continue
        for metric in COMPARED:
            best, mine = best_peer(group, ratio, metric), ours.metric(metric)
            if best and mine is not None and math.isfinite(mine - best[1]):
                gains[metric].append(mine - best[1])
    if not gains["psnr"]:
        return None
    result: dict[str, float] = {m: sum(v) / len(v) for m, v in gains.items() if v}
    result["worst_psnr"] = min(gains["psnr"])
    result["channels"] = len(gains["psnr"])
    return result


def _averages(groups: dict[tuple[str, int], Group]) -> dict[str, dict[str, float]]:
    ratios = sorted({r for g in groups.values() for _, r in g})
    found = {f"{r:g}": _average(groups, r) for r in ratios}
    return {name: value for name, value in found.items() if value}


def _deltas(groups: dict[tuple[str, int], Group]) -> list[tuple[str, int, str, float, Delta | None]]:
    """(volume, channel, peer, its mean PSNR, ours against it); ``best`` is the best peer at each ratio."""
    found: list[tuple[str, int, str, float, Delta | None]] = []
    for (volume, channel), group in groups.items():
        curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
        best: dict[float, tuple[float, float]] = {}  # by ratio
        for (peer, ratio), row in group.items():
            inside = BD_RATIOS[0] <= ratio <= BD_RATIOS[1]
            if inside and row.bytes and row.psnr is not None and math.isfinite(row.psnr):
                curves[peer].append((row.bytes, row.psnr))
                if peer != peers.OURS and row.psnr > best.get(ratio, (0.0, -math.inf))[1]:
                    best[ratio] = row.bytes, row.psnr
        ours = curves.pop(peers.OURS, [])
        if best:
            curves["best"] = list(best.values())
        for peer, points in sorted(curves.items()):
            try:
                value = delta(ours, points)
            except ValueError:
                value = None
            found.append((volume, channel, peer, sum(p for _, p in points) / len(points), value))
    return found


def _write_deltas(deltas: list[tuple[str, int, str, float, Delta | None]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["volume", "channel", "peer", "bd_rate_percent", "bd_psnr_db", "psnr_low", "psnr_high"]
        )
        for volume, channel, peer, _, d in deltas:
            if d is not None:
                numbers = (d.rate_percent, d.psnr_db, d.low, d.high)
                writer.writerow([volume, channel, peer, *("" if n is None else f"{n:.2f}" for n in numbers)])


def _delta_table(deltas: list[tuple[str, int, str, float, Delta | None]]) -> list[str]:
    """Ours against the best peer at each ratio, a line a channel."""
    lines = ["## BD-rate of volmicro-codec against the best peer, 50x to 400x", ""]
    lines += ["| stack | BD-rate | BD-PSNR | over |", "|---|---|---|---|"]
    rates = []
    for volume, channel, peer, _, d in deltas:
        if peer != "best" or d is None:
            continue
        rate = "no PSNR in common" if d.rate_percent is None else f"{d.rate_percent:+.1f} %"
        gain = "-" if d.psnr_db is None else f"{d.psnr_db:+.2f} dB"
        lines.append(f"| {volume} c{channel} | {rate} | {gain} | {d.low:.1f}..{d.high:.1f} dB |")
        if d.rate_percent is not None and volume not in APART:
            rates.append(d.rate_percent)
    if not rates:
        return []
    return [*lines, "", f"Mean BD-rate {sum(rates) / len(rates):+.1f} % over {len(rates)} channels.", ""]


def machine() -> dict[str, Any]:
    """What the figures were measured with."""
    versions = {}
    for name in ("numpy", "scipy", "torch", "imagecodecs", "tifffile"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    tools = {}
    for name in peers.NAMES:
        peer = peers.load(name)
        tools[name] = peer.missing() or peer.version()
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions,
        "peers": tools,
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown CPU"


def _versions(facts: dict[str, Any]) -> list[str]:
    packages = ", ".join(f"{k} {v}" for k, v in facts["packages"].items())
    lines = ["## Versions", "", f"Python {facts['python']}, {packages}.", ""]
    return lines + [f"- {name}: {text}" for name, text in facts["peers"].items()]


def _plots(groups: dict[tuple[str, int], Group], output: Path) -> None:
    """Three measures over the ratio, a picture a channel; and the PSNR of all channels in one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    for (volume, channel), group in groups.items():
        figure, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
        for axis, metric in zip(axes, COMPARED, strict=True):
            _curves(axis, group, metric)
            axis.set_ylabel(LABELS[metric])
            axis.set_xlabel("ratio")
        if axes[0].lines:
            axes[0].legend(fontsize=8)
        figure.suptitle(f"{volume}, channel {channel}")
        figure.savefig(output / f"{volume}-c{channel}.png", dpi=80)
        plt.close(figure)

    shown = {key: group for key, group in groups.items() if key[0] not in APART}
    if not shown:
        return
    columns = min(3, len(shown))
    size = (4.6 * columns, 3.3 * math.ceil(len(shown) / columns))
    figure, grid = plt.subplots(-(-len(shown) // columns), columns, figsize=size, layout="constrained")
    panels = list(np.atleast_1d(grid).flat)
    for axis, ((volume, channel), group) in zip(panels, shown.items(), strict=False):
        _curves(axis, group, "psnr")
        axis.set_title(f"{volume}, channel {channel}", fontsize=9)
    for axis in panels[len(shown) :]:
        axis.set_axis_off()
    lines = {line.get_label(): line for axis in panels for line in axis.lines}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines), fontsize=9)
    figure.supylabel(LABELS["psnr"], fontsize=10)
    figure.savefig(output / "overview.png", dpi=80)
    plt.close(figure)


def _curves(axis: Any, group: Group, metric: str) -> None:
    """One measure over the ratio, largest ratio first; what lies far below our curve is cut off."""
    ratios = sorted({ratio for _, ratio in group})
    drawn: dict[str, list[tuple[float, float]]] = {}
    # Rows that are kept as history have names that no peer has any more.
    names = [*peers.NAMES, *sorted({peer for peer, _ in group} - set(peers.NAMES))]
    for peer in names:
        points = [
            (ratio, value)
            for ratio in ratios
            if (row := group.get((peer, ratio))) is not None
            if (value := row.metric(metric)) is not None and math.isfinite(value)
        ]
        if points:
            drawn[peer] = points
            style = {"color": "black", "linewidth": 2.5, "zorder": 3} if peer == peers.OURS else {}
            colour = {} if style else {"color": f"C{names.index(peer) % 10}"}
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=peer, **style, **colour)
    axis.set_xscale("log")
    axis.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axis.minorticks_off()
    axis.invert_xaxis()
    axis.grid(alpha=0.3)
    ours = [value for _, value in drawn.get(peers.OURS, [])]
    if ours:
        below = 0.4 if metric == "mip_ssim" else 9.0
        axis.set_ylim(bottom=max(axis.get_ylim()[0], min(ours) - below))
