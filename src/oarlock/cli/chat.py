"""`oarlock chat`: talk to a model in the terminal."""

from __future__ import annotations

import os
import sys
from typing import Any

from oarlock import BaseLLM, ChatLLM, ConfigurationError, LLMError, LocalLLM
from oarlock.auth import BearerToken
from oarlock.contract.secret import scrub


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
    if base_url is None:
        return LocalLLM(model, on_length="return")  # a person sees that it was cut, and can ask on
    if model is None:
        raise ConfigurationError("With --base-url, say which model: --model NAME.")
    if key_env is None:
        return ChatLLM(model, base_url)
    if not os.environ.get(key_env):
        raise ConfigurationError(f"The environment variable {key_env} is not set, so there is no key to sign in with.")
    return ChatLLM(model, base_url, auth=BearerToken(os.environ[key_env]))


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
