"""Where a secret comes from: a text, a file, or a function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from oarlock.auth.credentials import secret_of, text_of
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["SecretSource", "Source", "secret_source"]

SecretSource = str | Secret | Path | Callable[[], str | Secret] | Callable[[], Awaitable[str | Secret]]
"""A text or `Secret`, the path of a file, or a function, blocking or `async def`, that returns one."""

_THREADS = ThreadPool(4, "oarlock-secret")


class Source:
    """A secret that is asked for whenever it is needed."""

    def __init__(self, owner: str, name: str, source: SecretSource, *, in_header: bool = True) -> None:
        self._what = f"{owner}: {name}"
        self._source = source
        self._in_header = in_header

    async def get(self, runtime: Runtime, deadline: float | None) -> Secret:
        """Return the secret.

        Raises:
            AuthenticationError: it cannot be had; a failure that may heal keeps its class.
        """
        source = self._source
        if isinstance(source, Secret):
            return source
        try:
            answer = await self._asked(runtime, deadline)
            if self._in_header:
                return secret_of(self._what, answer)
            return text_of(self._what, answer.rstrip("\r\n") if isinstance(source, Path) else answer)
        except Exception as error:  # the boundary to the user's function and to the file system
            ours = classify(error, f"The function for {self._what}")
            if isinstance(ours, LLMError) and ours.retryable:
                if ours is error:
                    raise
                raise ours from error
            problem = (
                f"{self._source} cannot be read ({type(error).__name__})"
                if isinstance(source, Path)
                else str(ours).rstrip(".")
            )
        raise AuthenticationError(f"{self._what}: {problem}.")

    async def _asked(self, runtime: Runtime, deadline: float | None) -> Any:
        source: Any = self._source
        if isinstance(source, Path):
            return await runtime.invoke(source.read_text, None, deadline=deadline, pool=_THREADS)
        is_async = inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__)
        forms = (None, source) if is_async else (source, None)
        answer = await runtime.invoke(*forms, deadline=deadline, pool=_THREADS)
        return (
            await runtime.invoke(None, _awaited, answer, deadline=deadline) if inspect.isawaitable(answer) else answer
        )


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def secret_source(owner: str, name: str, source: SecretSource, *, in_header: bool = True) -> Source:
    """Return the source; a text is checked at once, also for what a header cannot carry if it has to.

    Raises:
        ConfigurationError: it is none, or the text is empty or cannot stand in a header.
    """
    if isinstance(source, str | Secret):
        return Source(owner, name, (secret_of if in_header else text_of)(f"{owner}: {name}", source))
    if not isinstance(source, Path) and not callable(source):
        raise ConfigurationError(
            f"{owner}: {name} must be a text, a Path or a function, not of the type {type(source).__name__}."
        )
    return Source(owner, name, source, in_header=in_header)
