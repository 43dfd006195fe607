"""Any LLM inside policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.order import check_order
from oarlock.contract.policy import Handler, Policy, compose, in_default_order, merged
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.runtime import Runtime


class _OfInner:
    """An attribute that is read and written through to the LLM inside."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, outer: PolicedLLM | None, owner: type) -> Any:
        return self if outer is None else getattr(outer.inner, self._name)

    def __set__(self, outer: PolicedLLM, value: Any) -> None:
        setattr(outer.inner, self._name, value)


class PolicedLLM(BaseLLM):
    """What `llm.with_policies(...)` returns: the same LLM to ask, with policies around it.

    Everything it does not have itself (attributes and methods of your own class) it takes from the LLM inside.
    """

    model = _OfInner()
    temperature = _OfInner()
    max_tokens = _OfInner()
    stop = _OfInner()

    def __init__(
        self, inner: BaseLLM, present: Sequence[Policy], added: Sequence[Policy], *, order: str = "default"
    ) -> None:
        if order not in ("default", "given"):
            raise ConfigurationError(f'order must be "default" or "given", not {order!r}.')
        self.inner = inner
        together = merged(present, added)
        self.policies = in_default_order(together) if order == "default" else together
        check_order(self.policies)
        _ = self._handler  # put together now, so that a policy may refuse this LLM now

    @property
    def _handler(self) -> Handler:
        stack: Handler | None = self.__dict__.get("_oarlock_stack")
        if stack is None:
            stack = self.__dict__["_oarlock_stack"] = compose(self.policies, self._respond, self)
        return stack

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        return await self.inner._respond_bare(runtime, request)  # noqa: SLF001

    def _bare(self) -> tuple[BaseLLM, tuple[Policy, ...]]:
        return self.inner, self.policies

    def supports_function_calling(self) -> bool:
        return self.inner.supports_function_calling()

    def supports_stop_words(self) -> bool:
        return self.inner.supports_stop_words()

    def supports_json_schema(self) -> bool:
        return self.inner.supports_json_schema()

    def supports_option(self, name: str) -> bool:
        return self.inner.supports_option(name)

    def get_context_window_size(self) -> int:
        return self.inner.get_context_window_size()

    def endpoint_name(self) -> str | None:
        return self.inner.endpoint_name()

    def get_metrics(self) -> dict[str, Any]:
        own = any(hasattr(policy, "get_metrics") for policy in self.policies)
        return super().get_metrics() if own else self.inner.get_metrics()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __repr__(self) -> str:
        return f"{self.inner!r}.with_policies({', '.join(map(repr, self.policies))})"
