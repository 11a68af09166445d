"""Units of length and of time: the one place that knows their names, as files and people write them."""

from __future__ import annotations

MICROMETRES = {
    "Ym": 1e30,
    "Zm": 1e27,
    "Em": 1e24,
    "Pm": 1e21,
    "Tm": 1e18,
    "Gm": 1e15,
    "Mm": 1e12,
    "km": 1e9,
    "hm": 1e8,
    "dam": 1e7,
    "m": 1e6,
    "dm": 1e5,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "nm": 1e-3,
    "Å": 1e-4,
    "pm": 1e-6,
    "fm": 1e-9,
    "am": 1e-12,
    "zm": 1e-15,
    "ym": 1e-18,
    "thou": 25.4,
    "in": 25400.0,
    "ft": 304800.0,
    "yd": 914400.0,
    "mi": 1609344000.0,
}
"""Length of one unit, by its name in OME-XML, in µm."""

SECONDS = {
    "d": 86400.0,
    "h": 3600.0,
    "min": 60.0,
    "ks": 1e3,
    "s": 1.0,
    "ds": 1e-1,
    "cs": 1e-2,
    "ms": 1e-3,
    "µs": 1e-6,
    "ns": 1e-9,
    "ps": 1e-12,
    "fs": 1e-15,
}
"""Length of one unit, by its name in OME-XML, in s."""

PIXEL = "pixel"
"""OME's unit of sizes that are only known relative to each other."""

LONG_LENGTHS = {
    "Ym": "yottameter",
    "Zm": "zettameter",
    "Em": "exameter",
    "Pm": "petameter",
    "Tm": "terameter",
    "Gm": "gigameter",
    "Mm": "megameter",
    "km": "kilometer",
    "hm": "hectometer",
    "m": "meter",
    "dm": "decimeter",
    "cm": "centimeter",
    "mm": "millimeter",
    "µm": "micrometer",
    "nm": "nanometer",
    "Å": "angstrom",
    "pm": "picometer",
    "fm": "femtometer",
    "am": "attometer",
    "zm": "zeptometer",
    "ym": "yoctometer",
    "in": "inch",
    "ft": "foot",
    "yd": "yard",
    "mi": "mile",
}
"""The names that OME-Zarr gives them, where it has one."""

LONG_TIMES = {
    "d": "day",
    "h": "hour",
    "min": "minute",
    "ks": "kilosecond",
    "s": "second",
    "ds": "decisecond",
    "cs": "centisecond",
    "ms": "millisecond",
    "µs": "microsecond",
    "ns": "nanosecond",
    "ps": "picosecond",
    "fs": "femtosecond",
}
"""The names that OME-Zarr gives them."""

_LENGTHS = {
    **{name: unit for unit, name in LONG_LENGTHS.items()},
    **{name.replace("meter", "metre"): unit for unit, name in LONG_LENGTHS.items()},
    "dekameter": "dam",
    "decameter": "dam",
    "um": "µm",
    "micron": "µm",
    "mikron": "µm",
    "ang": "Å",
    "angstroem": "Å",
    "ångström": "Å",
    "thousandth": "thou",
    "inches": "in",
    "feet": "ft",
    '"': "in",
    "px": PIXEL,
    "pix": PIXEL,
    "voxel": PIXEL,
}
_TIMES = {
    **{name: unit for unit, name in LONG_TIMES.items()},
    "sec": "s",
    "msec": "ms",
    "usec": "µs",
    "us": "µs",
    "nsec": "ns",
    "minutes": "min",
    "hr": "h",
}


def length_unit(text: str | None) -> str | None:
    """A unit of length by its name in OME-XML.

    Parameters
    ----------
    text : str or None
        As a file or a person writes it: "um", "micron", "Micrometers", either sign of mu.

    Returns
    -------
    str or None
        None for a blank; a text that names no known unit as it is.
    """
    return _unit(text, MICROMETRES, _LENGTHS)


def time_unit(text: str | None) -> str | None:
    """A unit of time by its name in OME-XML; as `length_unit`."""
    return _unit(text, SECONDS, _TIMES)


def converted(value: float, of: str, to: str, table: dict[str, float]) -> float:
    """A length or a time in another unit of a table; exactly itself in its own."""
    return value if of == to else value * table[of] / table[to]


def _unit(text: str | None, known: dict[str, float], others: dict[str, str]) -> str | None:
    if text is None:
        return None
    text = text.replace("\x00", "")
    # ImageJ writes the sign as an escape; Greek mu and the sign of the Ångström look like what is meant.
    for other, meant in (("\\u00b5", "µ"), ("\\u00B5", "µ"), ("\\u00c5", "Å"), ("\\u00C5", "Å")):
        text = text.replace(other, meant)
    text = text.replace("\u03bc", "µ").replace("\u212b", "Å").strip()
    if not text:
        return None
    if text in known or text == PIXEL:
        return text
    word = text.lower()
    for name in (word, word.removesuffix("s"), word.removesuffix(".")):
        if name in others:
            return others[name]
        if name.replace("µ", "u") in others:
            return others[name.replace("µ", "u")]
        if name in known or name == PIXEL:
            return name
    return text
