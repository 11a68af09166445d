"""How many records a second a core decodes of each chunk coding.

    python benchmarks/records_speed.py FILE.vgm [-o OUT.json] [--repeat 10]

Processor seconds of one thread, the best of several runs.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from decode_speed import machine

from volmicro_codec.format import VgmReader, codings

HERE = Path(__file__).resolve().parent


def measure(path: str, repeat: int) -> dict[str, dict[str, float]]:
    """Chunks, records and millions of records a second, by name of the coding."""
    best: dict[str, dict[str, float]] = {}
    with VgmReader.open(path) as reader:
        chunks = [(reader.index.entry(i), reader.read_payload(i)) for i in range(len(reader.index))]
        for coding in sorted({entry.coding for entry, _ in chunks}):
            mine = [(entry, payload) for entry, payload in chunks if entry.coding == coding]
            shared = reader.meta.shared.get(coding, b"")
            seconds = []
            for _ in range(repeat):
                start = time.thread_time()
                for entry, payload in mine:
                    codings.get(coding).decode(payload, entry.count, shared, entry)
                seconds.append(time.thread_time() - start)
            records = sum(entry.count for entry, _ in mine)
            best[codings.name(coding)] = {
                "chunks": len(mine),
                "records": records,
                "million_per_second": round(records / min(seconds) / 1e6, 3),
            }
    return best


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "records_speed.json")
    parser.add_argument("--repeat", type=int, default=10)
    given = parser.parse_args()
    found = measure(given.file, given.repeat)
    for name, figures in found.items():
        print(f"{name:8s} {figures['million_per_second']:8.3f} million records a second and core")
    document = {"file": Path(given.file).name, "codings": found, "machine": machine(1, "cpu")}
    given.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
