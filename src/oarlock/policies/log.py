"""What happens to each call, in the log."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.events import CacheHit, CircuitChanged, Event, FellBack, Waited, Waiting
from oarlock.contract.messages import Message
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub
from oarlock.policies.checks import flag
from oarlock.runtime import Runtime

__all__ = ["Log"]


class Log:
    """Logs each call to `oarlock.llm`: its start at DEBUG, its answer at INFO, waits, fallbacks and failures at WARNING.

    Args:
        content: also log messages and answers, at DEBUG, cut to 1,000 characters. Off by default: they may be private.
        logger: another logger, or a `LoggerAdapter`.

    Raises:
        ConfigurationError: a setting that cannot work.

    Example:
        >>> Log()
        Log()
    """

    rank: ClassVar[int] = 10

    def __init__(
        self, *, content: bool = False, logger: logging.Logger | logging.LoggerAdapter[Any] | None = None
    ) -> None:
        if logger is not None and not isinstance(logger, logging.Logger | logging.LoggerAdapter):
            raise ConfigurationError(f"Log: logger must be a logging.Logger, not {logger!r}.")
        self.content = flag("Log", "content", content)
        self.logger = logger or logging.getLogger("oarlock.llm")

    def __call__(self, handler: Handler) -> Handler:
        observe = self._observe

        async def handle(runtime: Runtime, request: Request) -> Reply:
            started = runtime.now()
            self._asked(request)
            try:
                reply = await handler(runtime, request.replace(observers=(*request.observers, observe)))
            except Exception as error:
                self.logger.warning("call failed after %.2f s: %s", runtime.now() - started, _words(error))
                for note in getattr(error, "__notes__", ()):  # what became of fallbacks
                    self.logger.warning("%s", scrub(str(note)))
                raise
            self._answered(reply, runtime.now() - started)
            return reply

        return handle

    def _asked(self, request: Request) -> None:
        self.logger.debug("calling with %d messages and %d tools", len(request.messages), len(request.tools))
        if self.content and self.logger.isEnabledFor(logging.DEBUG):
            for message in request.messages:
                self.logger.debug("%s: %s", scrub(str(message.get("role"))), scrub(_content(message), 1000))

    def _answered(self, reply: Reply, seconds: float) -> None:
        if not self.logger.isEnabledFor(logging.INFO):
            return
        self.logger.info(
            "answered in %.2f s: %s, %d + %d tokens%s, %d tool calls",
            seconds,
            scrub(str(reply.finish_reason or "done")),
            reply.usage.prompt_tokens,
            reply.usage.completion_tokens,
            " (estimated)" if reply.usage.estimated else "",
            len(reply.tool_calls),
        )
        if self.content and self.logger.isEnabledFor(logging.DEBUG):
            self.logger.debug("answer: %s", scrub(reply.text, 1000))

    def _observe(self, event: Event) -> None:
        if isinstance(event, Waiting):
            why = f": {_words(event.error)}" if event.error else ""
            if event.seconds is not None:
                self.logger.warning("waiting %.2f s (%s)%s", event.seconds, event.cause, why)
        elif isinstance(event, Waited):
            if event.cause not in ("retry", "rate_limit"):  # of these the length was told before
                self.logger.warning("waited %.2f s (%s)", event.seconds, event.cause)
        elif isinstance(event, FellBack):
            names = scrub(event.from_model), scrub(event.to_model)
            self.logger.warning("%s failed, asking %s: %s", *names, _words(event.error))
        elif isinstance(event, CircuitChanged):
            level = logging.WARNING if event.state == "open" else logging.INFO
            why = f": {scrub(event.why)}" if event.why else ""
            self.logger.log(level, "circuit %s%s", event.state.replace("_", " "), why)
        elif isinstance(event, CacheHit):
            self.logger.debug("answered from the cache, saving %d tokens", event.saved.total_tokens)

    def explain(self) -> str:
        """Say in words what it does."""
        what = "with messages and answers" if self.content else "without messages and answers"
        return f"Logs each call, {what}, to {self.logger.name!r}."

    def __repr__(self) -> str:
        return "Log(content=True)" if self.content else "Log()"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {scrub(str(error))}"


def _content(message: Message) -> str:
    return str(message.get("content") or message.get("tool_calls") or "")
