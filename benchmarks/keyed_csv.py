"""Result tables in CSV files whose rows have a key: several runs may add to one at the same time."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar


class Keyed(Protocol):
    """A dataclass of str, int, float and their unions with None, some of whose fields make its key."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> Hashable:
        """What makes two rows the same measurement."""

    @property
    def order(self) -> Any:
        """What rows are sorted by."""

    @classmethod
    def digits(cls) -> Mapping[str, int]:
        """Decimals of the fields that have a fixed number of them."""


R = TypeVar("R", bound=Keyed)


def read(path: Path, row: type[R]) -> list[R]:
    """Rows of a table, none where there is no file."""
    if not path.exists():
        return []
    kinds = {f.name: str(f.type) for f in fields(row)}
    with path.open(newline="") as file:
        return [row(**{n: _value(r[n], kind) for n, kind in kinds.items()}) for r in csv.DictReader(file)]


def add(path: Path, new: Iterable[R], row: type[R]) -> None:
    """Put rows into the table in place of older ones of the same key; safe against runs at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    with open(Path(tempfile.gettempdir()) / f"results-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = {r.key: r for r in read(path, row)}
        table.update({r.key: r for r in new})
        fresh = path.with_suffix(".new")
        with fresh.open("w", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(row)], lineterminator="\n")
            writer.writeheader()
            for r in sorted(table.values(), key=lambda r: r.order):
                writer.writerow({n: _text(v, row.digits().get(n)) for n, v in asdict(r).items()})
        os.replace(fresh, path)


def _value(text: str, kind: str) -> object:
    if "None" in kind and not text:
        return None
    return int(text) if kind.startswith("int") else float(text) if kind.startswith("float") else text


def _text(value: object, digits: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}" if digits is None else f"{value:.{digits}f}"
    return str(value)
