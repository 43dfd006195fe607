"""`oarlock serve`: from what the command line says to a server."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import is_loopback
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Policy
from oarlock.policies import Budget, RateLimit
from oarlock.project.importing import imported, is_import_path
from oarlock.project.parts import llm_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oarlock.serve import ApiKey, JwtCheck

__all__ = ["Given", "run_serve"]

_NAMED: Final = re.compile(r"([\w.@/+-]+)=(.+)", re.ASCII | re.DOTALL)
_LINE: Final = "%(asctime)s %(levelname)s %(message)s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says; see `oarlock serve --help`."""

    targets: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    jwt_audience: str | None = None
    jwt_jwks: Path | None = None
    jwt_secret: str | None = None
    jwt_issuer: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    token_budget: int | None = None
    hosts: tuple[str, ...] = ()
    ignore_unsupported: bool = False
    tls: tuple[Path, Path] | None = None
    drain: float = 30.0
    quiet: bool = False
    debug: bool = False


def run_serve(given: Given) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: something that cannot work; the message says what.
    """
    _require_extra()
    from oarlock.serve import create_app, serve

    models = _models(given.targets)
    app = create_app(
        models,
        keys=_keys(given),
        tokens=_tokens(given),
        hosts=_hosts(given),
        unsupported="ignore" if given.ignore_unsupported else "refuse",
    )

    def tell(url: str) -> None:
        print(f"Serving {', '.join(models)} at {url}/v1 {_who(given)}. Ctrl-C ends.", flush=True)

    level = logging.DEBUG if given.debug else logging.WARNING if given.quiet else logging.INFO
    with _logging(level):
        if not is_loopback(given.host) and given.tls is None:
            logging.getLogger("oarlock.serve").warning("Keys cross the network in the clear: give --tls CERT KEY.")
        serve(app, given.host, given.port, certificate=given.tls, drain_seconds=given.drain, ready=tell)


def _require_extra() -> None:
    if not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
        raise ConfigurationError("oarlock serve needs Starlette and uvicorn: pip install 'oarlock[serve]'.")


def _models(targets: Sequence[str]) -> dict[str, BaseLLM]:
    if not targets:
        raise ConfigurationError("Say what to serve, such as my_module:llm or ollama/llama3.2.")
    models: dict[str, BaseLLM] = {}
    for target in targets:
        name, llm = _model(target)
        if name in models:
            raise ConfigurationError(f"There are two models of the name {name!r}: write NAME={target} for one of them.")
        models[name] = llm
    return models


def _model(target: str) -> tuple[str, BaseLLM]:
    named = _NAMED.fullmatch(target)
    name, place = named.groups() if named else (None, target)
    if not is_import_path(place):
        llm = llm_from({"model": place}, place, Path())
        return name or place, llm
    found: Any = imported(place, place, Path())
    if not isinstance(found, BaseLLM) and callable(found):
        found = found()
    if not isinstance(found, BaseLLM):
        raise ConfigurationError(f"{place} is no LLM, nor does it make one: it is a {type(found).__name__}.")
    own = found.model if found.model != BaseLLM.model else ""
    return name or own or place.rpartition(":")[2], found


def _keys(given: Given) -> list[ApiKey]:
    from oarlock.serve import ApiKey

    limits = _limits(given)
    return [ApiKey(name, place, limits(name)) for name, place in map(_key, given.api_keys)]


def _key(text: str) -> tuple[str, str]:
    named = _NAMED.fullmatch(text)
    name, place = named.groups() if named else ("", text)
    return name or re.sub(r"[^\w.@-]", "-", place.partition(":")[2], flags=re.ASCII)[-64:] or "key", place


def _tokens(given: Given) -> JwtCheck | None:
    from oarlock.serve import JwtCheck

    if given.jwt_audience is None:
        if given.jwt_jwks is not None or given.jwt_secret is not None or given.jwt_issuer is not None:
            raise ConfigurationError("JSON Web Tokens need --jwt-audience, what their aud must name.")
        return None
    return JwtCheck(
        given.jwt_audience,
        jwks=given.jwt_jwks,
        secret=given.jwt_secret,
        issuer=given.jwt_issuer,
        policies=_limits(given),
    )


def _limits(given: Given) -> Callable[[str], list[Policy]]:
    """Return what makes the limits of each key."""
    requests, tokens = given.requests_per_minute, given.tokens_per_minute
    paced = requests is not None or tokens is not None
    if (paced or given.token_budget is not None) and not given.api_keys and given.jwt_audience is None:
        raise ConfigurationError("Limits are those of a key: give --api-key too.")

    def limits(_: str) -> list[Policy]:
        policies: list[Policy] = []
        if paced:
            policies.append(RateLimit(requests, tokens, max_wait=0))
        if given.token_budget is not None:
            policies.append(Budget(tokens=given.token_budget))
        return policies

    return limits


def _hosts(given: Given) -> tuple[str, ...]:
    from oarlock.serve.hosts import LOOPBACK_HOSTS

    if not is_loopback(given.host):
        return given.hosts or ("*",)
    own = f"[{given.host}]" if ":" in given.host else given.host
    return (*LOOPBACK_HOSTS, own, *given.hosts)


def _who(given: Given) -> str:
    if given.api_keys or given.jwt_audience is not None:
        return "to those who show a key" if given.api_keys else "to those who show a token"
    return "to every program on this machine"


@contextmanager
def _logging(level: int) -> Iterator[None]:
    """Log to standard error while the server runs."""
    log = logging.getLogger("oarlock.serve")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_LINE))
    before = log.level
    log.addHandler(handler)
    log.setLevel(level)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
