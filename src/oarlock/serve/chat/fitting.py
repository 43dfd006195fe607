"""From what a client asks to what this LLM takes: the rest is refused, or left out where the server was told so."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from oarlock.contract.llm import BaseLLM
from oarlock.contract.request import Request
from oarlock.serve.chat.asked import Asked, wrong

__all__ = ["Unsupported", "fitted"]

Unsupported: TypeAlias = Literal["refuse", "ignore"]
"""What becomes of settings that an LLM does not take."""


def fitted(asked: Asked, llm: BaseLLM, unsupported: Unsupported) -> tuple[Request, tuple[str, ...]]:
    """Return the request for this LLM, and the names of the fields that were left out.

    Raises:
        ApiError: 400, a field that this LLM does not take.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> request = Request(messages=[{"role": "user", "content": "Hi"}], options={"seed": 1})
        >>> fitted(Asked(model="m", request=request), ScriptedLLM([]), "ignore")[1]
        ('seed',)
    """
    request = _with_tools(asked, llm)
    if request.json_schema is not None and not llm.supports_json_schema():
        message = (
            f"The model '{asked.model}' cannot promise answers of a JSON schema. Describe the format in the prompt."
        )
        raise wrong("response_format", message, "unsupported_parameter")
    options = request.options or {}
    settings: dict[str, Any] = {"temperature": request.temperature, "max_tokens": request.max_tokens, **options}
    left_out = [name for name, value in settings.items() if value is not None and not llm.supports_option(name)]
    left_out += asked.unknown
    if left_out and (unsupported == "refuse" or "response_format" in left_out):
        raise _refusal(left_out[0], asked)
    kept = {name: value for name, value in options.items() if name not in left_out}
    return request.replace(
        options=kept or None,
        temperature=None if "temperature" in left_out else request.temperature,
        max_tokens=None if "max_tokens" in left_out else request.max_tokens,
    ), tuple(left_out)


def _with_tools(asked: Asked, llm: BaseLLM) -> Request:
    """Return the request with tools and the choice of them as this LLM can be held to it."""
    request, choice = asked.request, asked.tool_choice
    if not request.tools:
        return request
    if choice == "none" and not (llm.supports_function_calling() and llm.supports_option("tool_choice")):
        return request.replace(tools=())  # what it does not see it does not call
    if not llm.supports_function_calling():
        message = f"The model '{asked.model}' cannot call tools. Leave out 'tools', or choose another model."
        raise wrong("tools", message, "unsupported_parameter")
    if choice == "auto":
        return request
    if not llm.supports_option("tool_choice"):
        raise wrong(
            "tool_choice", f"The model '{asked.model}' cannot be told which tool to call.", "unsupported_parameter"
        )
    return request.replace(options={**(request.options or {}), "tool_choice": choice})


def _refusal(name: str, asked: Asked) -> Exception:
    if name in asked.unknown:
        return wrong(name[:64], f"Unrecognized request argument supplied: {name[:64]!r}.", "unknown_parameter")
    message = f"The model '{asked.model}' takes no '{name}'. Leave it out; the server can also be told to ignore such settings."
    return wrong(name, message, "unsupported_parameter")
