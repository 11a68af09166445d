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
TRUTH_OURS = ("stack", "rounded-truth", "vgm", "vgm-no-points", "vgm-voxels")
TRUTH_METRICS = ("psnr", "psnr_fg", "mip_ssim", "psnr_float", "psnr_fg_float", "mip_ssim_float")
TRUTH_SHOWN = 200.0
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


def truth() -> list[str]:
    """This codec at its defaults against the truth behind noisy stacks, beside the best peers."""
    rows = read("truth.csv")
    out = [
        "| stack, photons | stack itself | vgm | bytes | best peer | vgm, float32 | best peer"
        " | MIP SSIM: itself | vgm, float32 | best peer |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    gains: dict[float, list[dict[str, float]]] = {}
    for case in dict.fromkeys((r["stack"], r["photons"]) for r in rows):
        here = [r for r in rows if (r["stack"], r["photons"]) == case]
        itself = next((r for r in here if r["codec"] == "stack"), None)
        for ours in (r for r in here if r["codec"] == "vgm"):
            ratio = float(ours["ratio"])
            # A peer's smaller file counts as well, as it does for a codec that ends early.
            peers = [r for r in here if r["codec"] not in TRUTH_OURS and float(r["ratio"]) >= ratio]
            tops = {m: max((float(r[m]), r["codec"]) for r in peers if r[m]) for m in TRUTH_METRICS if peers}
            if not tops:
                continue
            gains.setdefault(ratio, []).append({m: float(ours[m]) - tops[m][0] for m in TRUTH_METRICS})
            if ratio != TRUTH_SHOWN or itself is None:
                continue
            mip = tops["mip_ssim_float"]
            out.append(
                f"| {case[0]}, {case[1]} | {_pair(itself, '')} | **{_pair(ours, '')}** | {ours['bytes']}"
                f" | {_tops(tops, '')} | **{_pair(ours, '_float')}** | {_tops(tops, '_float')}"
                f" | {float(itself['mip_ssim']):.3f} | {float(ours['mip_ssim_float']):.3f}"
                f" | {mip[0]:.3f} {mip[1]} |"
            )
    out += ["", "Over the best peer, mean and least over all stacks:", ""]
    out += ["| ratio | stacks | PSNR, dB | least | foreground, dB | least | float32: PSNR, dB | least"
            " | foreground, dB | least | MIP SSIM | least |", "|---" * 12 + "|"]  # fmt: skip
    for ratio, found in sorted(gains.items()):
        cells = [f"{ratio:g}", f"{len(found)}"]
        for m in ("psnr", "psnr_fg", "psnr_float", "psnr_fg_float", "mip_ssim_float"):
            each, digits = [g[m] for g in found], 3 if m.startswith("mip_ssim") else 2
            cells += [f"{v:+.{digits}f}" for v in (sum(each) / len(each), min(each))]
        out.append(f"| {' | '.join(cells)} |")
    return out


def _pair(row: dict[str, str], kind: str) -> str:
    return f"{float(row['psnr' + kind]):.1f} ({float(row['psnr_fg' + kind]):.1f})"


def _tops(tops: dict[str, tuple[float, str]], kind: str) -> str:
    (whole, a), (inside, b) = tops["psnr" + kind], tops["psnr_fg" + kind]
    return f"{whole:.1f} {a} ({inside:.1f} {b})"


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


def scale() -> list[str]:
    """A store of 100 Gvoxel, and what schedulers need for it."""
    path = RESULTS / "scale.json"
    if not path.exists():
        return ["Not measured."]
    s: dict[str, Any] = json.loads(path.read_text())
    rate, http = s["cpu_seconds_a_megavoxel"], s["http"]
    rates = f"{rate['mean']:.2f} CPU seconds a megavoxel read ({rate['least']:.2f} to {rate['most']:.2f})"
    out = [
        f"Measured (`python benchmarks/scale.py`, effort {s['effort']}): {len(s['encoded'])} bricks of"
        f" {s['brick']}^3 of a made-up volume of {s['voxels'] / 1e9:.0f} Gvoxel took {rates}",
        f"and at most {s['worker_peak_bytes'] / 1e6:,.0f} MB each. A store of"
        f" {s['voxels_of_the_store'] / 1e9:.0f} Gvoxel made of them has {s['bricks']:,} bricks and",
        f"{s['metadata_bytes']:,} bytes of metadata; its coarser levels add"
        f" {100 * s['coarser_levels_over_full_grid']:.0f} % to the full grid's bytes, and `vgm finish` took"
        f" {s['finish_seconds']:.0f} seconds.",
        "",
        "| over http, 50 ms a request | requests | bytes | seconds |",
        "|---|---|---|---|",
    ]
    for name, r in http.items():
        out.append(f"| {name} | {r['requests']} | {r['bytes']:,} | {r['seconds_at_50_ms']:.2f} |")
    out += [
        "",
        "Simulated from these times, bricks of 512^3, 1 % of the workers three times as slow and 1 % lost:",
        "",
        "| workers | 100 Gvoxel, hours | of ideal | 5 TB of uint16, hours | of ideal | bricks done again |",
        "|---|---|---|---|---|---|",
    ]
    for a, b in zip(s["simulated"], s["simulated_5_tb"], strict=True):
        out.append(
            f"| {a['workers']:,} | {a['hours']:,.1f} | {100 * a['of_ideal']:.0f} % | {b['hours']:,.1f}"
            f" | {100 * b['of_ideal']:.0f} % | {b['done_again']} |"
        )
    return out


def packed() -> list[str]:
    """Packed files of 2.5 million chunks, and what they take over http."""
    files = json.loads((RESULTS / "pack.json").read_text())["files"]
    out = [
        "Counted over http (`python benchmarks/pack.py`), chunks of one value each, as requests (bytes):",
        "",
        "| bricks | voxels | chunks | root, bytes | to open, ms | MB | open | level 5: index | chunks"
        " | slice of 512 x 512 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for f in files:
        opening = f["opening"]
        asked = [
            f"{r['requests']} ({r['bytes']:,})" for name, r in f["http"].items() if name != "coarsest level"
        ]
        out.append(
            f"| {f['brick']}^3 | {f['voxels']:.1e} | {f['chunks']:,} | {f['root_bytes']:,} |"
            f" {opening['ms']:.1f} | {opening['memory_bytes'] / 1e6:.1f} | {' | '.join(asked)} |"
        )
    return out


def main() -> None:
    """Put the tables into README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    tables = {"truth": truth(), "quality": quality(), "cost": cost(), "phantom": large(), "scale": scale()}
    tables["pack"] = packed()
    for name, lines in tables.items():
        begin, end = BEGIN.format(name), END.format(name)
        head, rest = text.split(begin, 1)
        _, tail = rest.split(end, 1)
        text = head + begin + "\n" + "\n".join(lines) + "\n" + end + tail
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
