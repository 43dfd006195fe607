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

from oarlock.agents.crew import Crew
from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.http import is_loopback
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Policy
from oarlock.policies import Budget, RateLimit
from oarlock.project.crew_file import load_crew
from oarlock.project.importing import imported, is_import_path
from oarlock.project.parts import llm_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oarlock.serve import ApiKey, JwtCheck
    from oarlock.telemetry import Prometheus

__all__ = ["Given", "run_serve"]

_NAMED: Final = re.compile(r"([\w.@/+-]+)=(.+)", re.ASCII | re.DOTALL)
_KEY_PLACE: Final = re.compile(r"(?:([\w.@-]{1,64})=)?((?:env|file|command):.+)", re.ASCII | re.DOTALL)
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
    database: str | None = None
    metrics: bool = False
    quiet: bool = False
    debug: bool = False


def run_serve(given: Given) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: something that cannot work; the message says what.
    """
    _require_extra()
    from oarlock.serve import create_app, serve

    models, crews = _served(given.targets)
    if given.database is not None and not crews:
        raise ConfigurationError("--database is for the runs of crews, and there is none.")
    metrics = _metrics() if given.metrics else None
    app = create_app(
        models,
        crews=crews,
        keys=_keys(given),
        tokens=_tokens(given),
        hosts=_hosts(given),
        unsupported="ignore" if given.ignore_unsupported else "refuse",
        database=given.database,
        metrics=metrics,
    )

    def tell(url: str) -> None:
        if models:
            print(f"Models {_who(given)}, at {url}/v1: {', '.join(models)}")
        if crews:
            print(f"Crews {_who(given)}, with a page of their runs, at {url}: {', '.join(crews)}")
        if metrics is not None:
            print(f"Figures for Prometheus, at {url}/metrics")
        print("Ctrl-C ends.", flush=True)
        if not is_loopback(given.host) and given.tls is None:
            logging.getLogger("oarlock.serve").warning("Keys cross the network in the clear: give --tls CERT KEY.")

    level = logging.DEBUG if given.debug else logging.WARNING if given.quiet else logging.INFO
    with _logging(level):
        serve(app, given.host, given.port, certificate=given.tls, drain_seconds=given.drain, ready=tell)


def _metrics() -> Prometheus:
    """Count everything from now on."""
    from oarlock.telemetry import Prometheus, instrument

    metrics = Prometheus()
    instrument(metrics)
    return metrics


def _require_extra() -> None:
    if not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
        raise ConfigurationError("oarlock serve needs Starlette and uvicorn: pip install 'oarlock[serve]'.")


def _served(targets: Sequence[str]) -> tuple[dict[str, BaseLLM], dict[str, Crew]]:
    if not targets:
        raise ConfigurationError("Say what to serve, such as my_module:llm, ollama/llama3.2 or crew.yaml.")
    models: dict[str, BaseLLM] = {}
    crews: dict[str, Crew] = {}
    for target in targets:
        name, found = _found(target)
        if name in models or name in crews:
            raise ConfigurationError(f"There are two of the name {name!r}: write NAME={target} for one of them.")
        if isinstance(found, Crew):
            crews[name] = found
        else:
            models[name] = found
    return models, crews


def _found(target: str) -> tuple[str, BaseLLM | Crew]:
    named = _NAMED.fullmatch(target)
    name, place = named.groups() if named else (None, target)
    if place.endswith((".yaml", ".yml")):
        return name or Path(place).stem, load_crew(place)
    if not is_import_path(place):
        return name or place, llm_from({"model": place}, place, Path())
    found: Any = imported(place, place, Path())
    if not isinstance(found, BaseLLM | Crew) and callable(found):
        found = found()
    if not isinstance(found, BaseLLM | Crew):
        raise ConfigurationError(f"{place} is no LLM and no crew, nor does it make one: it is {a_kind(found)}.")
    own = found.model if isinstance(found, BaseLLM) else found.name
    return name or (place.rpartition(":")[2] if own in (BaseLLM.model, "crew") else own), found


def _keys(given: Given) -> list[ApiKey]:
    from oarlock.serve import ApiKey

    limits = _limits(given)
    return [ApiKey(name, place, limits(name)) for name, place in map(_key, given.api_keys)]


def _key(text: str) -> tuple[str, str]:
    """Return a key's name, and where it is. What is neither may be the key itself, and is not shown."""
    found = _KEY_PLACE.fullmatch(text)
    if found is None:
        raise ConfigurationError("--api-key says where a key is, as env:NAME or file:PATH, not the key itself.")
    name, place = found.groups()
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
