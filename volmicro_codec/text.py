"""Text out of files, such as names of channels, made fit for where it goes: a line, XML, HTML, a file."""

from __future__ import annotations

import re

# Controls (C0, C1, DEL), separators of lines and paragraphs, what turns the direction of text, and halves of
# surrogate pairs, as which Python keeps the bytes of names that are not UTF-8.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# What is no Char of XML 1.0, section 2.2.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_STORED = re.compile("[\0\ud800-\udfff]")
REPLACEMENT = "\ufffd"
LARGEST = (1 << 63) - 1
"""Of whole numbers; what is larger is a slip."""


def visible(text: str) -> str:
    r"""Text with what could move a cursor or forge a line as escapes: ``\n``, ``\x1b``, ``\u202e``."""
    return _HIDDEN.sub(_escape, text)


def json_visible(document: str) -> str:
    """The same of a JSON document, whose own line ends stay; the escapes are JSON's."""
    lines = document.split("\n")
    return "\n".join(_HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in lines)


def size_text(n: int) -> str:
    """A number of bytes, as ``12.3 kB``."""
    for power, prefix in enumerate("EPTGMk"):
        unit: int = 1000 ** (6 - power)
        if n >= unit:
            return f"{n / unit:.3g} {prefix}B"
    return f"{n} bytes"


def whole_number(text: str) -> int | None:
    """The whole number that digits make; None where they are none, or more than 64 bits hold."""
    digits = text.strip()
    if not re.fullmatch(r"[-+]?\d+", digits) or len(digits) > 1000:
        return None
    number = int(digits)
    return number if abs(number) <= LARGEST else None


def fit_for_xml(text: str) -> str:
    """Text with U+FFFD for every character that XML has no way to hold."""
    return _NOT_XML.sub(REPLACEMENT, text)


def fit_for_html(text: str) -> str:
    """Text as HTML that shows it, with `visible` escapes."""
    from html import escape

    return escape(visible(text))


def fit_for_file(text: str) -> str:
    """Text with U+FFFD for what a .vgm file's texts cannot hold: NUL and halves of surrogate pairs."""
    return _NOT_STORED.sub(REPLACEMENT, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def reason(error: BaseException) -> str:
    """Why a request failed, in a few words."""
    status = getattr(error, "status", None)
    if status is not None:
        return f"{status} {getattr(error, 'message', '')}".strip()
    if isinstance(error, TimeoutError):  # fsspec makes one of its own, without a text, of any
        return str(error) or str(error.__cause__ or "") or "no answer in time"
    if type(error).__name__ == "NoCredentialsError":  # of botocore
        return (
            "no credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials;"
            " FSSPEC_S3_ANON=true for what is public)"
        )
    answer = getattr(error, "response", None)
    if isinstance(answer, dict) and "Error" in answer:  # of botocore as well
        return str(answer["Error"].get("Message") or answer["Error"].get("Code"))
    if isinstance(error, PermissionError):
        return f"no permission ({' '.join(str(error).split())})"
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
