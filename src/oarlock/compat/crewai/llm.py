"""`crewai.llm`: its `LLM`, with the arguments that CrewAI has for it."""

from __future__ import annotations

from typing import Any

import oarlock
from oarlock.compat.llm_arguments import llm_arguments
from oarlock.compat.missing import Says, public, sentence
from oarlock.contract.llm import BaseLLM

__all__ = ["LLM", "BaseLLM"]


class LLM(oarlock.LLM, metaclass=Says):
    """`oarlock.LLM` with CrewAI's arguments: `LLM(model="openai/gpt-4o", temperature=0.2, top_p=0.9)`.

    `model` must name its provider, unless `provider` or `base_url` is given or the name is a provider's own, as `gpt-4o`,
    `claude-sonnet-4-5` and `gemini-2.5-flash` are. A name that says nothing of its provider is refused.

    Raises:
        ConfigurationError: an argument that does not exist, or one that asks for what is not here.

    Example:
        >>> LLM(model="hosted_vllm/my-model", api_base="http://127.0.0.1:8000/v1", top_p=0.9).options
        {'top_p': 0.9}
    """

    def __new__(cls, model: Any = None, **theirs: Any) -> Any:
        """Return an LLM; see `oarlock.LLM`."""
        if isinstance(model, str) and model.startswith("local/"):
            model, settings = llm_arguments(model, theirs)
            return super().__new__(cls, model, **settings)
        return super().__new__(cls, model)

    def __init__(self, model: str, **theirs: Any) -> None:
        ours, settings = llm_arguments(model, theirs)
        super().__init__(ours, **settings)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(sentence(f"crewai.LLM.{name}", public(type(self))))
