"""An error in a sentence, with the line of its owner's code that it comes from."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

__all__ = ["in_words"]

_OURS = Path(__file__).resolve().parents[2]
_NOT_THEIRS = (
    str(_OURS),
    *(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")),
)


def in_words(error: BaseException) -> str:
    """Return what was raised, and where in its owner's code."""
    place = _place(error)
    return f"It raised {type(error).__name__}{f' in {place}' if place else ''}: {error}"


def _place(error: BaseException) -> str | None:
    """Return the innermost line that is neither ours nor a library's, of the error or of what caused it."""
    frames = [frame for link in _causes(error) for frame in traceback.extract_tb(link.__traceback__)]
    places = [f"{Path(frame.filename).name}, line {frame.lineno}" for frame in frames if _is_theirs(frame.filename)]
    return places[-1] if places else None


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what caused it."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _is_theirs(filename: str) -> bool:
    return not (filename.startswith("<") or str(Path(filename).resolve()).startswith(_NOT_THEIRS))
