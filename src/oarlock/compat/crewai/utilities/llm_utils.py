"""`crewai.utilities.llm_utils`."""

from __future__ import annotations

from typing import Any

from oarlock.agents.definitions import check_llm, llm_named
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM

__all__ = ["create_llm"]

_HINT = "Pass LLM('provider/model'), ChatLLM(model, base_url, auth=...), or an object of your own subclass of BaseLLM."


def create_llm(llm_value: Any = None) -> BaseLLM:
    """Return the LLM that was given. Nothing is ever made up: no provider is chosen that was not named.

    Args:
        llm_value: an LLM object, or the name of a model with its provider, such as `"openai/gpt-4o"`.

    Raises:
        ConfigurationError: it is anything else, such as a model's name alone.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> llm = ScriptedLLM(["Hello"])
        >>> create_llm(llm) is llm
        True
    """
    if llm_value is None:
        raise ConfigurationError(f"create_llm() was given no LLM, and there is no default one. {_HINT}")
    if isinstance(llm_value, str):
        return llm_named("create_llm()", llm_value)
    check_llm("create_llm()", "llm_value", llm_value)
    return llm_value  # type: ignore[no-any-return]
