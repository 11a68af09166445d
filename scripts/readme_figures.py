"""Rewrite the tables between the markers of README.md from the committed result files.

python scripts/readme_figures.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- {} begin -->", "<!-- {} end -->"
NOT_PEERS = ("vgm", "published", "siren")
SHOWN = (100.0, 200.0, 400.0)  # of the ratios measured; `benchmarks/results/summary.md` has all
COST_SHOWN = (100.0, 400.0)


def read(name: str) -> list[dict[str, str]]:
    """Rows of a result file; none where it does not exist."""
    path = RESULTS / name
    if not path.exists():
        return []
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def best(rows: list[dict[str, str]], metric: str) -> tuple[float, str] | None:
    """The best value of a metric among peers, and whose it is."""
    found = [(float(r[metric]), r["peer"]) for r in rows if r[metric] and r["peer"] not in NOT_PEERS]
    return max(found) if found else None


def quality() -> list[str]:
    """This codec against the best peer of each metric, at the same bytes."""
    rows = read("rate_distortion.csv")
    out = [
        "| stack, channel | ratio | PSNR, dB | best peer | foreground | best peer | MIP SSIM | best peer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = sorted(
        {
            (r["volume"], r["channel"], float(r["ratio"]))
            for r in rows
            if r["peer"] == "vgm" and float(r["ratio"]) in SHOWN
        }
    )
    for volume, channel, ratio in keys:
        here = [r for r in rows if (r["volume"], r["channel"], float(r["ratio"])) == (volume, channel, ratio)]
        ours = next(r for r in here if r["peer"] == "vgm")
        cells = [f"{volume}, {channel}", f"{ratio:g}"]
        for metric, digits in (("psnr", 2), ("psnr_fg", 2), ("mip_ssim", 4)):
            top = best(here, metric)
            cells.append(f"{float(ours[metric]):.{digits}f}")
            cells.append(f"{top[0]:.{digits}f} {top[1]}" if top else "not measured")
        out.append("| " + " | ".join(cells) + " |")
    return out


def cost() -> list[str]:
    """What each encode took."""
    out = [
        "| stack, channel | ratio | effort | bytes | Gaussians and points | SSIM | seconds | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    latest = {(r["volume"], r["channel"], float(r["ratio_target"])): r for r in read("encode_stacks.csv")}
    for (_, _, ratio), r in sorted(latest.items()):
        if ratio not in COST_SHOWN:
            continue
        out.append(
            f"| {r['volume']}, {r['channel']} | {r['ratio_target']} | {r['effort']}"
            f" | {r['bytes']} | {r['primitives']}"
            f" | {float(r['ssim']):.4f} | {float(r['seconds']):.0f} | {r['peak_mb']} |"
        )
    return out


def large() -> list[str]:
    """The phantom of the published benchmark's size."""
    path = RESULTS / "phantom.json"
    if not path.exists():
        return ["Not measured."]
    p: dict[str, Any] = json.loads(path.read_text())
    out = ["| what | figure |", "|---|---|"]
    out += [f"| {k} | {v} |" for k, v in p["table"].items()]
    for document in p["decode"].values():
        f = document["figures"]
        out += [
            f"| decode, Mvoxel/s | {f['whole']['mvoxel_per_second']:.0f} |",
            f"| 64^3 region, ms, opened and read cold | {1000 * f['open_and_region_cold']['seconds']:.0f} |",
            f"| 64^3 region, ms, chunks read before | {1000 * f['region_warm']['seconds']:.1f} |",
        ]
    return out


def main() -> None:
    """Put the tables into README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, lines in (("quality", quality()), ("cost", cost()), ("phantom", large())):
        begin, end = BEGIN.format(name), END.format(name)
        head, rest = text.split(begin, 1)
        _, tail = rest.split(end, 1)
        text = head + begin + "\n" + "\n".join(lines) + "\n" + end + tail
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
