"""`oarlock chat`: talk to a model in the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from oarlock import LLM, BaseLLM, ChatLLM, ConfigurationError, LLMError, LocalLLM
from oarlock.auth import BearerToken
from oarlock.contract.secret import scrub
from oarlock.llms.presets import PRESETS


def run_chat(model: str | None, base_url: str | None, key_env: str | None, system: str | None) -> None:
    """Read lines, stream answers, until an empty line or the end of the input."""
    llm = _llm(model, base_url, key_env)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    if sys.stdin.isatty():
        print(f"Talking to {llm.model}. An empty line ends.")
    while line := _read():
        messages.append({"role": "user", "content": line})
        answer = _answer(llm, messages)
        if answer is None:
            messages.pop()
        else:
            messages.append({"role": "assistant", "content": answer})


def _llm(model: str | None, base_url: str | None, key_env: str | None) -> BaseLLM:
    settings: dict[str, Any] = {"on_length": "return"}  # a person sees that it was cut, and can ask on
    if key_env is not None:
        if not os.environ.get(key_env):
            raise ConfigurationError(
                f"The environment variable {key_env} is not set, so there is no key to sign in with."
            )
        settings["auth"] = BearerToken(os.environ[key_env])
    if base_url is not None:
        if model is None:
            raise ConfigurationError("With --base-url, say which model: --model NAME.")
        return ChatLLM(model, base_url, **settings)
    if model is not None and model.partition("/")[0] in PRESETS and not Path(model).exists():
        return LLM(model, **settings)
    if key_env is not None:
        raise ConfigurationError(
            "A model in this process needs no key: --key-env goes with --base-url or PROVIDER/MODEL."
        )
    return LocalLLM(model, **settings)


def _read() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _answer(llm: BaseLLM, messages: list[dict[str, Any]]) -> str | None:
    """Print the answer as it comes; a failure is told, and the conversation goes on when a person is there."""
    try:
        with llm.stream(messages) as stream:
            for delta in stream:
                print(delta, end="", flush=True)
            print()
            return stream.reply.text
    except LLMError as error:
        if not sys.stdin.isatty():
            raise
        print(f"\nError: {scrub(str(error), 1000)}", file=sys.stderr)
        return None
