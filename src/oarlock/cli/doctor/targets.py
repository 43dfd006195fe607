"""What there is to examine: an endpoint by its URL, the LLMs of a crew file, or an LLM in a module."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oarlock.auth import ApiKey, Auth, BearerToken, from_config
from oarlock.cli.doctor.case import Patient
from oarlock.cli.doctor.code import code
from oarlock.contract.classify import classify
from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.llm import BaseLLM
from oarlock.llms.chat import ChatLLM
from oarlock.llms.settings import sends_in_clear
from oarlock.project.crew_file import load_crew
from oarlock.project.yaml_file import read_yaml

__all__ = ["Given", "patients"]

_TIMEOUT = 10.0  # seconds; the questions are tiny
_NOT_KNOWN = "default"  # stands for a model's name until the endpoint has told which it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line said of an endpoint; none of it holds for a crew file or a module."""

    model: str | None = None
    api_key_env: str | None = None
    api_key_header: str | None = None
    bearer_env: str | None = None
    auth_file: Path | None = None
    headers: Sequence[str] = ()
    ca_bundle: Path | None = None
    client_cert: tuple[Path, Path] | None = None
    proxy: str | None = None
    transport: str | None = None
    function_calling: bool = True
    streaming: bool = True

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be seen, as far as it is known before anything is sent."""
        values = (os.environ.get(name, "") for name in (self.api_key_env, self.bearer_env) if name)
        return tuple(value.strip() for value in values if value.strip())


def patients(target: str, given: Given) -> list[Patient]:
    """Return the LLMs that a target has.

    Raises:
        ConfigurationError: there are none, or a setting cannot work.
    """
    if "://" in target:
        return [_at_url(target, given)]
    if set_ := [name for name in Given.__slots__ if getattr(given, name) != getattr(_NOTHING, name)]:
        options = ", ".join(
            f"--{name.replace('_', '-')}" for name in set_ if name not in ("function_calling", "streaming")
        )
        if options:
            raise ConfigurationError(f"{options} can be given with a URL only: {target} says itself how it signs in.")
    if target.endswith((".yaml", ".yml")):
        return _in_crew(Path(target), given)
    module, colon, name = target.partition(":")
    if colon and module and name:
        return [_in_module(module, name, given)]
    raise ConfigurationError(
        f"{target!r} is nothing to examine: give a URL (https://...), a crew file (CREW.yaml) or an LLM (module:llm)."
    )


_NOTHING = Given()


def _at_url(url: str, given: Given) -> Patient:
    auth, expression, imports = _auth(given)
    options: dict[str, Any] = {}
    if given.ca_bundle is not None:
        options["verify"] = str(given.ca_bundle)
    if given.client_cert is not None:
        options["client_certificate"] = tuple(map(str, given.client_cert))
    if given.proxy is not None:
        options["proxy"] = given.proxy
    headers = _headers(given.headers)
    settings: dict[str, Any] = {}
    if given.transport is not None:
        settings["transport"] = given.transport
    if not given.function_calling:
        settings["function_calling"] = False
    if auth is not None and sends_in_clear(url):  # which the doctor warns of, and says in the code
        settings["allow_http"] = True
    llm = ChatLLM(
        given.model or _NOT_KNOWN,
        url,
        auth=auth,
        timeout=_TIMEOUT,
        headers=headers,
        transport_options=options,
        **settings,
    )
    if options:
        settings["transport_options"] = (
            options if "proxy" not in options else {**options, "proxy": _bare(given.proxy or "")}
        )

    def made(name: str, found: Mapping[str, Any]) -> str:
        more = {**settings, **found}
        return code(name, llm.base_url, auth=expression, imports=imports, headers=headers, settings=more)

    return Patient(
        llm=llm,
        code=made,
        model_known=given.model is not None,
        streams=given.streaming,
    )


def _bare(proxy: str) -> str:
    """Return a proxy's URL without its password."""
    head, at, tail = proxy.rpartition("@")
    return f"{head.partition('://')[0]}://{tail}" if at else proxy


def _auth(given: Given) -> tuple[Auth | None, str | None, tuple[str, ...]]:
    """Return the sign-in, the Python for it, and the imports of that."""
    named = [name for name in ("api_key_env", "bearer_env", "auth_file") if getattr(given, name) is not None]
    if len(named) > 1:
        raise ConfigurationError(f"Give one of {' and '.join('--' + name.replace('_', '-') for name in named)}.")
    if given.api_key_header is not None and given.api_key_env is None:
        raise ConfigurationError("--api-key-header goes with --api-key-env NAME.")
    if given.api_key_env is not None:
        header = given.api_key_header
        more = f', header="{header}"' if header else ""
        made = ApiKey(_variable(given.api_key_env), header=header)
        return made, f'ApiKey(os.environ["{given.api_key_env}"]{more})', ("from oarlock.auth import ApiKey",)
    if given.bearer_env is not None:
        token = BearerToken(_variable(given.bearer_env))
        return token, f'BearerToken(os.environ["{given.bearer_env}"])', ("from oarlock.auth import BearerToken",)
    if given.auth_file is not None:
        return _from_file(given.auth_file)
    return None, None, ()


def _from_file(path: Path) -> tuple[Auth, str, tuple[str, ...]]:
    made = from_config(read_yaml(path).content, str(path))
    expression = f"from_config(yaml.safe_load(Path({str(path)!r}).read_text()))".replace("'", '"')
    return made, expression, ("from pathlib import Path", "import yaml", "from oarlock.auth import from_config")


def _variable(name: str) -> str:
    if not os.environ.get(name):
        raise ConfigurationError(f"The environment variable {name} is not set.")
    return os.environ[name]


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers = {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not value.strip():
            raise ConfigurationError("A header is given as 'NAME: VALUE', such as --header 'X-Team: blue'.")
        headers[name.strip()] = value.strip()
    return headers


def _in_crew(path: Path, given: Given) -> list[Patient]:
    crew = load_crew(path)
    found = [crew.manager_llm, *(agent.llm for agent in crew.agents)]
    llms = list({id(llm): llm for llm in found if llm is not None}.values())
    return [Patient(llm=llm, streams=given.streaming) for llm in llms]


def _in_module(module: str, name: str, given: Given) -> Patient:
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: modules of this folder
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        if made := not isinstance(found, BaseLLM) and callable(found):
            found = found()
    except ConfigurationError:
        raise
    except Exception as error:  # the boundary to the user's module
        raise ConfigurationError(f"{module}:{name} cannot be had: {classify(error, module)}") from error
    if not isinstance(found, BaseLLM):
        raise ConfigurationError(f"{module}:{name} is no LLM, nor does it make one: it is {a_kind(found)}.")
    first = name.partition(".")[0]
    text = f"from {module} import {first}"
    if name != "llm":
        text += f"\n\nllm = {name}{'()' if made else ''}"
    return Patient(llm=found, code=lambda _model, _found: text, streams=given.streaming)
