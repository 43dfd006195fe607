"""Checks of stop words."""

from __future__ import annotations

from oarlock.contract.context import scope
from oarlock.contract.llm import BaseLLM
from oarlock.testing.contract.asking import ask, name_of
from oarlock.testing.contract.subject import NotApplicable, Scene, require
from oarlock.testing.endpoint import LoopbackEndpoint

__all__ = ["own_stop_words", "stop_words_of_the_run"]

_WORD = "BREAKWATER"
_SAYS = f"Ships wait before the {_WORD} until the storm is over."
_QUESTION = "Repeat this sentence word by word: Ships wait before the {} until the storm is over."


def own_stop_words(scene: Scene) -> None:
    """If it supports stop words: those of llm.stop are sent, or the answer ends before them."""
    llm, endpoint = _subject(scene)
    llm.stop = [_WORD]
    _require_stop(llm, endpoint, "llm.stop")


def stop_words_of_the_run(scene: Scene) -> None:
    """If it supports stop words: those of the running step (also in llm.stop) are sent, or the answer ends before them."""
    llm, endpoint = _subject(scene)
    with scope(stop=(_WORD,)):
        _require_stop(llm, endpoint, "the running step")


def _subject(scene: Scene) -> tuple[BaseLLM, LoopbackEndpoint | None]:
    llm, endpoint = scene.behind(_SAYS) if scene.subject.takes_url else (scene.made(), None)
    if not llm.supports_stop_words():
        raise NotApplicable("supports_stop_words() is False, so the library cuts the text.")
    return llm, endpoint


def _require_stop(llm: BaseLLM, endpoint: LoopbackEndpoint | None, whose: str) -> None:
    # Behind an endpoint of ours, the word must not be in the question: there it would look as if it had been sent.
    answer = ask(llm, _QUESTION.format("harbour" if endpoint else _WORD)).text
    sent = endpoint is not None and _WORD.encode() in endpoint.requests[-1].body
    require(
        sent or _WORD not in answer,
        f"supports_stop_words() is True, but {name_of(llm, 'call')} ignores the stop words of {whose}: send self.stop with "
        "each request as it is at that moment, or let supports_stop_words() return False, and the library cuts the text.",
    )
