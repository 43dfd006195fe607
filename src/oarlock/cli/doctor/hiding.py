"""Taking out of every word what must not be seen."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from oarlock.cli.doctor.recorder import Exchange
from oarlock.cli.doctor.report import Step
from oarlock.llms.redaction import credentials_of

__all__ = ["Hider"]

_SECRET_FIELD = re.compile(r"(?:token|secret|password|key|assertion|session|ticket)$", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SHORTEST = 6  # characters; what is shorter protects nothing, and may be a part of any word


class Hider:
    """Knows what was sent and received as a credential, and takes it out of texts.

    Args:
        secrets: known from the beginning, such as the values of environment variables.
        known: what is no secret though it stands where one may, such as the model's name.
    """

    def __init__(self, secrets: Iterable[str] = (), known: Iterable[str] = ()) -> None:
        self._secrets = {text for text in secrets if len(text) >= _SHORTEST}
        self._known = set(known)

    def learn(self, exchange: Exchange, *, aside: bool) -> None:
        """Take note of the credentials in a request, and where it is one of the sign-in's own (`aside`) in its answer."""
        self._secrets |= credentials_of([exchange.request], self._known)
        for cookie in exchange.headers.get_all("set-cookie"):
            self._add(cookie.partition(";")[0].partition("=")[2])
        if aside:
            try:
                self._learn_from(json.loads(exchange.body))
            except (ValueError, RecursionError):
                return

    def _learn_from(self, value: Any, name: str = "", depth: int = 4) -> None:
        if isinstance(value, str) and _SECRET_FIELD.search(name):
            self._add(value)
        elif isinstance(value, Mapping) and depth:
            for inner, one in value.items():
                self._learn_from(one, str(inner), depth - 1)
        elif isinstance(value, list) and depth:
            for one in value[:20]:
                self._learn_from(one, name, depth - 1)

    def _add(self, text: str) -> None:
        if len(text) >= _SHORTEST and text not in self._known:
            self._secrets.add(text)

    def text(self, text: str) -> str:
        """Return a text on one line, without credentials and control characters."""
        if self._secrets:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            text = re.sub("|".join(map(re.escape, longest_first)), "…", text, flags=re.IGNORECASE)
        return " ".join(_CONTROL.sub(" ", text).split())

    def value(self, value: Any) -> Any:
        """Return a JSON value with its texts cleaned."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(one) for name, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, list | tuple) else value

    def step(self, step: Step) -> Step:
        """Return a step with every text in it cleaned."""
        cleaned = {"saw": self.text(step.saw), "advice": self.text(step.advice), "facts": self.value(step.facts)}
        return dataclasses.replace(step, **cleaned)
