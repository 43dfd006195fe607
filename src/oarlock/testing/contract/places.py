"""An error in a sentence, with the line of its owner's code that it comes from."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

__all__ = ["in_words"]

_LINKS = 10  # causes of causes that are looked at
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
    places: list[str] = []
    link: BaseException | None = error
    for _ in range(_LINKS):
        if link is None:
            break
        frames = traceback.extract_tb(link.__traceback__)
        places += [
            f"{Path(frame.filename).name}, line {frame.lineno}" for frame in frames if _is_theirs(frame.filename)
        ]
        link = link.__cause__ or link.__context__
    return places[-1] if places else None


def _is_theirs(filename: str) -> bool:
    return not (filename.startswith("<") or str(Path(filename).resolve()).startswith(_NOT_THEIRS))
