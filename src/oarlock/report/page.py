"""The page itself: one file that holds all it needs, and whose own policy lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from oarlock import __version__
from oarlock.agents.record_files import open_privately
from oarlock.contract.errors import ConfigurationError
from oarlock.report.data import content_of, page_data
from oarlock.report.reading import Record

__all__ = ["as_page", "write_page"]

_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)
_STYLES: Final = ("page.css",)
_SCRIPTS: Final = ("page.js", "runs.js", "timeline.js", "detail.js")
_CONTENTS_AT_ONCE: Final = 100  # pieces of work whose content is read together, when somebody asks for that of one

# All that could end an element, begin a comment in it, or be taken for the end of a line by an old reader of scripts.
_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def as_page(record: Record) -> str:
    """Return a record as a page of HTML that asks nobody for anything.

    Texts are in it as JSON and are only ever shown as text; the page's policy (`Content-Security-Policy`) lets no other script
    run than its own and nothing be loaded from anywhere.

    Example:
        >>> as_page(read_record("run.jsonl"))[:15]  # doctest: +SKIP
        '<!doctype html>'
    """
    head, _, tail = _frame().partition("<!--data-->")
    data = {**page_data(record), "version": __version__, "chunk": _CONTENTS_AT_ONCE}
    return "".join((head, _block("data", data), *_contents(record), tail))


def write_page(record: Record, path: str | Path) -> None:
    """Write a record as a page of HTML, readable for you alone as the record is: what was said is in it.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    try:
        with open(path, "wb", opener=open_privately) as file:
            file.write(as_page(record).encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigurationError(f"The report {str(path)!r} cannot be written: {error.strerror or error}.") from error


def _contents(record: Record) -> Iterator[str]:
    """Yield what was said, a block for so many pieces of work: the page reads one when it is asked for it."""
    kept: list[dict[str, Any] | None] = []
    number = 0
    for run in record.runs:
        mine = list(run.tree.walk())
        places = {piece.id: number * _CONTENTS_AT_ONCE + len(kept) + place for place, piece in enumerate(mine)}
        for piece in mine:
            kept.append(content_of(piece, places))
            if len(kept) == _CONTENTS_AT_ONCE:
                yield _block(f"content-{number}", kept)
                number, kept = number + 1, []
    if kept:
        yield _block(f"content-{number}", kept)


def _block(name: str, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'<script type="application/json" id="{name}">{text.translate(_ESCAPES)}</script>\n'


@cache
def _frame() -> str:
    """Return the page without a record, and with the policy that lets its own style and script run."""
    html = (files(__package__) / "page.html").read_text(encoding="utf-8")
    for kind, names in (("style", _STYLES), ("script", _SCRIPTS)):
        text = "".join((files(__package__) / name).read_text(encoding="utf-8") for name in names)
        html = html.replace(f"<{kind}></{kind}>", f"<{kind}>{text}</{kind}>")
    hashes = {kind: _hash(text) for kind, text in _INLINE.findall(html)}
    policy = (
        f"default-src 'none'; script-src '{hashes['script']}'; style-src '{hashes['style']}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    return html.replace("<!--policy-->", f'<meta http-equiv="content-security-policy" content="{policy}">')


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
