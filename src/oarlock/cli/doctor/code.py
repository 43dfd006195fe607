"""The Python that makes a working LLM, without secrets: what the doctor ends with."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["code", "looks_secret"]

_SECRET_NAME = re.compile(r"key|token|secret|auth|cookie|password|session", re.IGNORECASE)


def looks_secret(name: str) -> bool:
    """Return whether a header of this name is likely to hold a secret.

    Example:
        >>> looks_secret("X-Api-Key"), looks_secret("X-Team")
        (True, False)
    """
    return bool(_SECRET_NAME.search(name))


def code(
    model: str,
    base_url: str,
    *,
    auth: str | None = None,
    imports: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Return Python for a `ChatLLM`.

    Args:
        model: its name.
        base_url: of its endpoint.
        auth: the expression for its sign-in.
        imports: lines that the expression needs.
        headers: of each request; one that looks like a secret is read from the environment.
        settings: further arguments.

    Example:
        >>> print(code("gpt-x", "https://llm.example.com/v1", settings={"function_calling": False}))
        from oarlock import ChatLLM
        <BLANKLINE>
        llm = ChatLLM(
            "gpt-x",
            "https://llm.example.com/v1",
            function_calling=False,
        )
    """
    arguments = [_text(model), _text(base_url)]
    if auth is not None:
        arguments.append(f"auth={auth}")
    if headers:
        arguments.append(
            f"headers={{{', '.join(f'{_text(name)}: {_header(name, headers[name])}' for name in headers)}}}"
        )
    arguments += [f"{name}={_value(value)}" for name, value in (settings or {}).items()]
    body = "".join(f"    {argument},\n" for argument in arguments)
    lines = {"from oarlock import ChatLLM", *imports, *(["import os"] if "os.environ" in body else [])}
    groups = ("\n".join(sorted(line for line in lines if _group(line) == group)) for group in range(3))
    return "\n\n".join([*filter(None, groups), f"llm = ChatLLM(\n{body})"])


def _group(line: str) -> int:
    """Return where an import stands: Python's own first, then other packages, then ours."""
    name = line.split()[1].partition(".")[0]
    return 2 if name == "oarlock" else 0 if name in sys.stdlib_module_names else 1


def _header(name: str, value: str) -> str:
    variable = re.sub(r"\W+", "_", name).upper()
    return f'os.environ["{variable}"]' if looks_secret(name) else _text(value)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(name)}: {_value(one)}' for name, one in value.items())}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})"
    return repr(value)


def _text(text: str) -> str:
    quoted = repr(text)
    return f'"{quoted[1:-1]}"' if quoted[0] == "'" and '"' not in quoted else quoted
