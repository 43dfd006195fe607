"""The code blocks of the page on custom LLMs that our users start from, kept verbatim in `blocks/`, and how to run them.

Blocks that are whole classes are executed as they are. A fragment (a bare `def call(self, ...)`) goes into a class, below
the imports that it begins with, as a reader of the page would put it.
"""

from __future__ import annotations

import builtins
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

_FOLDER = Path(__file__).with_name("blocks")

SURROUNDINGS = '''
import requests
from typing import Any, Dict, List, Optional, Union
from crewai import BaseLLM

class Surroundings(BaseLLM, abstract=True):
    """What the fragments take for granted."""

    def __init__(self, api_key="a-key", endpoint=""):
        super().__init__()
        self.api_key = api_key
        self.endpoint = endpoint

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.api_key}"}

    def prepare_payload(self, messages):
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return {"model": "loopback", "messages": messages}

class ApiCalls:
    """The `_make_api_call` that the page's classes leave to their reader."""

    def _make_api_call(self, messages, tools):
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        response = requests.post(
            self.endpoint,
            headers={"Authorization": f"Bearer {self.api_key}"},
            json={"model": "loopback", "messages": messages},
            timeout=30,
        )
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]
'''


def block(name: str) -> str:
    """Return the text of a block, such as `"retry"`."""
    (file,) = _FOLDER.glob(f"[0-9][0-9]_{name}.py.txt")
    return file.read_text()


def all_names() -> list[str]:
    return [file.name[3:].removesuffix(".py.txt") for file in sorted(_FOLDER.glob("*.py.txt"))]


def in_class(name: str, base: str, *fragments: str) -> str:
    """Return fragments as the body of one class; the imports they begin with stay above it."""
    heads, bodies = zip(*(fragment.split("def ", 1) for fragment in fragments), strict=True)
    body = "\n".join(f"def {text}" for text in bodies)
    return f"{''.join(heads)}\nclass {name}({base}):\n{textwrap.indent(body, '    ')}"


def execute(*sources: str, **given: Any) -> dict[str, Any]:
    """Run sources one after the other in one namespace, and return it."""
    namespace: dict[str, Any] = {"__name__": "page", **given}
    for source in sources:
        exec(compile(source, "<the page>", "exec"), namespace)
    return namespace


def imports_instead(**modules: ModuleType | object) -> dict[str, Any]:
    """Return `__builtins__` for `execute` whose import statement gives these objects for these modules."""

    def substitute(name: str, *rest: Any) -> Any:
        return modules[name] if name in modules else builtins.__import__(name, *rest)

    return {**vars(builtins), "__import__": substitute}


def page_class(name: str, **given: Any) -> Any:
    """Return the class of a block, or the class that a fragment was put into."""
    match name:
        case "basic":
            return execute(block("basic"), **given)["CustomLLM"]
        case "jwt":
            return execute(block("jwt"), **given)["JWTAuthLLM"]
        case "try_except" | "retry" | "auth_errors":
            return execute(SURROUNDINGS, in_class("FragmentLLM", "Surroundings", block(name)), **given)["FragmentLLM"]
        case "validate_input":
            both = in_class("ValidatingLLM", "Surroundings", block("validate_input"), block("try_except"))
            return execute(SURROUNDINGS, both, **given)["ValidatingLLM"]
        case "function_calling":
            whole = in_class("FunctionCallingLLM", "JWTAuthLLM", block("function_calling"))
            return execute(block("jwt"), whole, **given)["FunctionCallingLLM"]
        case "logging" | "rate_limiting" | "metrics":
            cls = {"logging": "LoggingLLM", "rate_limiting": "RateLimitedLLM", "metrics": "MetricsCollectingLLM"}[name]
            mixed = f"class Mine(ApiCalls, {cls}):\n    pass\n"
            return execute(SURROUNDINGS, block(name), mixed, **given)["Mine"]
    raise KeyError(name)


def page_llm(name: str, endpoint: str, token: str = "a-key", **given: Any) -> Any:
    """Return an LLM of a block's class that asks an endpoint (its base URL)."""
    return page_class(name, **given)(token, f"{endpoint}/chat/completions")
