"""Stop words in a stream of an LLM that does not know them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StopCut"]


class StopCut:
    """Lets a streamed text through up to the first stop word, which may come in pieces.

    Example:
        >>> cut = StopCut(["END"])
        >>> [cut.feed(piece) for piece in ("one E", "lse two E", "ND three", " four")], cut.end()
        (['one ', 'Else two ', '', ''], '')
    """

    __slots__ = ("_held", "_over", "_stop")

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""  # what may be the beginning of a stop word
        self._over = False

    def feed(self, piece: str) -> str:
        """Return what can be shown now."""
        if self._over:
            return ""
        text = self._held + piece
        ends = [at for word in self._stop if (at := text.find(word)) >= 0]
        if ends:
            self._over, self._held = True, ""
            return text[: min(ends)]
        keep = max(self._begun(text, word) for word in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """Return what was held back, now that the text has ended."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _begun(text: str, word: str) -> int:
        """Return how many characters at the end of a text may be the beginning of a word."""
        longest = min(len(word) - 1, len(text))
        return next((length for length in range(longest, 0, -1) if text.endswith(word[:length])), 0)
