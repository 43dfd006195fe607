"""MCP servers as crew files and scripts for CrewAI have them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from oarlock.auth.references import reference
from oarlock.contract.errors import ConfigurationError, a_kind, misspelt
from oarlock.contract.secret import Secret
from oarlock.project.importing import imported
from oarlock.project.parts import auth_from

if TYPE_CHECKING:
    from oarlock.mcp import MCPServer

__all__ = ["TRANSPORTS", "server_for", "server_from"]

TRANSPORTS: Final = ("http", "sse")
_SECRET: Final = re.compile(r"key|token|secret|passw|auth|cookie|credential", re.IGNORECASE)


def server_from(name: str, settings: Mapping[str, Any], where: str, folder: Path) -> MCPServer:
    """Return the MCP server that a mapping describes: one with a `command` is a program, one with a `url` is behind HTTP.

    Args:
        name: what the file calls it.
        settings: arguments of `MCPServerStdio`, or of `MCPServerHTTP` and `transport`: `http` or `sse`. Values in `env` and
            `headers` may be references such as `env:NAME`, and those of secrets must be.
        where: the place in the user's file, for messages.
        folder: where a program is run, and functions are looked for.

    Raises:
        ConfigurationError: something in it is wrong.
    """
    from oarlock import mcp  # only where there are any: it needs an extra

    given = {"name": name, **settings}
    if ("command" in given) == ("url" in given):
        raise ConfigurationError(f"{where} needs either command, for a program, or url, for a server behind HTTP.")
    transport = _settle_http(given, where) if "url" in given else "stdio"
    kinds: dict[str, Callable[..., MCPServer]] = {
        "stdio": mcp.MCPServerStdio,
        "http": mcp.MCPServerHTTP,
        "sse": mcp.MCPServerSSE,
    }
    kind = kinds[transport]
    known = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]
    if unknown := [key for key in given if key not in known]:
        raise misspelt(where, unknown, known)
    for setting in ("env", "headers"):
        if given.get(setting) is not None:
            given[setting] = _values(given[setting], f"{where}.{setting}")
    if given.get("tool_filter") is not None:
        given["tool_filter"] = imported(given["tool_filter"], f"{where}.tool_filter", folder)
    if "command" in given:
        given["cwd"] = folder / str(given.get("cwd") or "")
    try:
        return kind(**given)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def server_for(parameters: Any, owner: str, connect_timeout: float) -> MCPServer:
    """Return the server of parameters that CrewAI takes: the SDK's `StdioServerParameters`, or a mapping with `url`.

    Args:
        parameters: these, or a server of `oarlock.mcp` as it is.
        owner: whose they are, for messages.
        connect_timeout: seconds for connecting, unless a mapping has its own.

    Raises:
        ConfigurationError: they are something else, or ask for what is not there.
    """
    from oarlock.mcp import MCPServer, MCPServerHTTP, MCPServerSSE, MCPServerStdio  # likewise

    if isinstance(parameters, MCPServer):
        return parameters
    if isinstance(parameters, Mapping):
        given = dict(parameters)
        transport = given.pop("transport", "sse")
        kinds: dict[Any, type[MCPServerHTTP]] = {"sse": MCPServerSSE, "streamable-http": MCPServerHTTP}
        if transport not in kinds:
            raise ConfigurationError(f"{owner}: transport must be 'sse' or 'streamable-http', not {transport!r}.")
        return kinds[transport](**{"connect_timeout": connect_timeout, **given})
    if not hasattr(parameters, "command"):
        raise ConfigurationError(
            f"{owner}: give StdioServerParameters(command=...) from mcp, or a mapping such as "
            f"{{'url': ..., 'transport': 'streamable-http'}}, not {a_kind(parameters)}."
        )
    return MCPServerStdio(
        command=parameters.command,
        args=parameters.args,
        env=parameters.env,
        cwd=parameters.cwd,
        connect_timeout=connect_timeout,
    )


def _settle_http(given: dict[str, Any], where: str) -> str:
    """Put objects in the place of their descriptions, and return the transport."""
    transport = given.pop("transport", "http")
    if transport not in TRANSPORTS:
        raise ConfigurationError(f"{where}.transport must be http or sse, not {transport!r}.")
    if "auth" in given:
        given["auth"] = auth_from(given["auth"], f"{where}.auth")
    if (found := reference(given["url"], f"{where}.url")) is not None:
        given["url"] = found.now().reveal()
    return str(transport)


def _values(given: Any, where: str) -> dict[str, str | Secret]:
    if not isinstance(given, dict):
        raise ConfigurationError(f"{where} must be a mapping of names to texts, not {a_kind(given)}.")
    return {str(name): _value(str(name), value, f"{where}.{name}") for name, value in given.items()}


def _value(name: str, value: Any, where: str) -> str | Secret:
    found = reference(value, where)
    if found is not None:
        return found.now()
    if _SECRET.search(name):
        raise ConfigurationError(
            f"{where} looks like a secret, and must say where it is, as env:NAME or file:PATH, not the secret itself."
        )
    return str(value)
