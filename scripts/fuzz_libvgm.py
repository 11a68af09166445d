"""Fuzz libvgm: damaged and made-up files under the address and undefined behaviour sanitizers.

    python scripts/fuzz_libvgm.py [--runs 100000] [--minutes 60] [--seed 1] [-o OUT.json]

Builds ``libvgm/fuzz/fuzz_decode.c`` with Clang and its libFuzzer in ``build/fuzz``, starts from the files of
``spec/vectors``, and stops at the first finding, whose input is kept in ``build/fuzz/findings``:
``build/fuzz/fuzz_decode FILE`` shows it again. Most runs are of short files, which are the fastest; a tenth
is of longer ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "fuzz"
LENGTHS = ((2048, 0.9), (8192, 0.1))  # largest files, bytes; their share of the runs


def build() -> Path:
    """The fuzz target, built."""
    configure = ["cmake", "-S", ROOT / "libvgm", "-B", BUILD, "-DVGM_FUZZ=ON", "-DCMAKE_C_COMPILER=clang"]
    subprocess.run([*configure, "-DCMAKE_BUILD_TYPE=RelWithDebInfo"], check=True, stdout=subprocess.DEVNULL)
    target = ["cmake", "--build", BUILD, "--target", "fuzz_decode"]
    subprocess.run(target, check=True, stdout=subprocess.DEVNULL)
    return BUILD / "fuzz_decode"


def output(*command: str) -> str:
    """First line of what a command prints."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")[0]


def campaign(target: Path, corpus: Path, runs: int, seconds: int, length: int, seed: int) -> dict[str, Any]:
    """Run so many inputs of at most ``length`` bytes, or for so long; what came of it."""
    findings = BUILD / "findings"
    findings.mkdir(exist_ok=True)
    options = {
        "runs": runs, "max_total_time": seconds, "max_len": length, "seed": seed, "timeout": 20,
        "rss_limit_mb": 2048, "print_final_stats": 1, "artifact_prefix": f"{findings}/",
    }  # fmt: skip
    command = [target, *(f"-{key}={value}" for key, value in options.items()), corpus]
    start = time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True)
    done = re.search(r"number_of_executed_units: (\d+)", ran.stderr)
    edges = re.findall(r"cov: (\d+)", ran.stderr)
    kept = re.findall(r"Test unit written to (\S+)", ran.stderr)
    if ran.returncode != 0:
        print(ran.stderr[-4000:], file=sys.stderr)
    return {
        "largest_bytes": length,
        "runs": int(done.group(1)) if done else 0,
        "edges_covered": int(edges[-1]) if edges else 0,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "findings": [Path(name).name for name in kept] or (["ended early"] if ran.returncode else []),
    }


def main() -> int:
    """Build, run, keep what was found; 1 where there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=600.0, help="end then, however many were run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=BUILD / "fuzz.json")
    given = parser.parse_args()
    if not (shutil.which("clang") and shutil.which("cmake")):
        print("fuzzing needs Clang (with libFuzzer) and CMake", file=sys.stderr)
        return 2
    target = build()
    corpus = BUILD / "corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir()
    for seed in sorted((ROOT / "spec" / "vectors").glob("*/*.vgm")):
        shutil.copy(seed, corpus / f"{seed.parent.name}-{seed.name}")
    about = {
        "commit": output("git", "rev-parse", "HEAD"),
        "changed_since": bool(output("git", "status", "--porcelain", "--", "libvgm")),
        "compiler": output("clang", "--version"),
        "sanitizers": "address, undefined",
        "seed": given.seed,
        "date": date.today().isoformat(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    campaigns: list[dict[str, Any]] = []
    for length, share in LENGTHS:
        seconds = max(1, round(60 * given.minutes * share))
        campaigns.append(campaign(target, corpus, round(given.runs * share), seconds, length, given.seed))
        if campaigns[-1]["findings"]:
            break
    runs, findings = sum(c["runs"] for c in campaigns), sum(len(c["findings"]) for c in campaigns)
    document = {"runs": runs, "findings": findings, **about, "campaigns": campaigns}
    given.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{runs} inputs, {findings} findings; wrote {given.output}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
