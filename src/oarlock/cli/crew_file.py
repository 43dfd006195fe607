"""`oarlock run crew.yaml`: a whole crew from one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from oarlock import Agent, BaseLLM, ChatLLM, ConfigurationError, Crew, LocalLLM, Task
from oarlock.auth import Auth, from_config
from oarlock.contract.errors import misspelt

T = TypeVar("T")

_SHORT: Final = {"api_key": "key", "bearer_token": "token"}


def run_crew_file(path: Path, inputs: Sequence[str]) -> None:
    """Run the crew of a YAML file and print its answer; what happens meanwhile goes to standard error.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; the message says where.
    """
    crew = load_crew(path)
    try:
        print(crew.kickoff(_inputs(inputs)))
    except ConfigurationError as error:
        if "needs an input" in str(error):
            error.add_note("On the command line: --input NAME=VALUE.")
        raise


def load_crew(path: Path) -> Crew:
    """Return the crew of a YAML file.

    The file has `llm`, `agents` and `tasks`; `llm` is either `{model: FILE.gguf}` (in process; without a model the
    installed one) or `{base_url, model, auth: {type: ..., ...}}` with further settings of `ChatLLM`; for `auth` see
    `oarlock.auth.from_config`. Without `auth`, the endpoint wants none.
    """
    content = _read(path)
    _only(content, f"{path}", ("llm", "agents", "tasks", "verbose"), needed=("agents", "tasks"))
    llm = _llm(content.get("llm"), f"{path}: llm")
    agents = {
        name: _built(Agent, f"{path}: agents.{name}", {**_mapping(settings, f"{path}: agents.{name}"), "llm": llm})
        for name, settings in _mapping(content["agents"], f"{path}: agents").items()
    }
    tasks: dict[str, Task] = {}
    for name, settings in _mapping(content["tasks"], f"{path}: tasks").items():
        tasks[name] = _task(f"{path}: tasks.{name}", name, settings, agents, tasks)
    verbose = content.get("verbose", True)
    return _built(Crew, f"{path}", {"agents": list(agents.values()), "tasks": list(tasks.values()), "verbose": verbose})


def _task(where: str, name: str, settings: Any, agents: Mapping[str, Agent], earlier: Mapping[str, Task]) -> Task:
    given = {"name": name, **_mapping(settings, where)}
    if "agent" in given:
        given["agent"] = _named(given["agent"], agents, f"{where}.agent")
    if given.get("context") is not None:
        given["context"] = [_named(one, earlier, f"{where}.context") for one in given["context"]]
    return _built(Task, where, given)


def _llm(settings: Any, where: str) -> BaseLLM:
    given = _mapping(settings or {}, where)
    if "base_url" not in given:
        return _built(LocalLLM, where, given)
    auth = given.pop("auth", None)
    return _built(ChatLLM, where, {**given, "auth": _auth(auth, f"{where}.auth")})


def _auth(settings: Any, where: str) -> Auth | None:
    """Return the sign-in; `{api_key: env:NAME}` is short for `{type: api_key, key: env:NAME}`."""
    if settings is None:
        return None
    given = _mapping(settings, where)
    for name, argument in _SHORT.items():
        if "type" not in given and name in given:
            given = {"type": name, **{argument if key == name else key: value for key, value in given.items()}}
    return from_config(given, where)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not a text file in UTF-8.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path}{line}: {getattr(error, 'problem', None) or 'not valid YAML'}.") from error
    return _mapping(content, f"{path}")


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigurationError(f"{where} must be a mapping of names, not {type(value).__name__}.")
    return dict(value)


def _only(given: Mapping[str, Any], where: str, known: Sequence[str], needed: Sequence[str] = ()) -> None:
    if unknown := [name for name in given if name not in known]:
        raise misspelt(where, unknown, known)
    if missing := [name for name in needed if name not in given]:
        raise ConfigurationError(f"{where} needs {' and '.join(missing)}.")


def _named(name: Any, known: Mapping[str, Any], where: str) -> Any:
    if name not in known:
        there = ", ".join(known) or "none"
        raise ConfigurationError(f"{where}: there is no {name!r} here. There is: {there}.")
    return known[name]


def _built(kind: type[T], where: str, settings: dict[str, Any]) -> T:
    try:
        return kind(**settings)
    except (ConfigurationError, TypeError) as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _inputs(pairs: Sequence[str]) -> dict[str, str]:
    inputs = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"An input is given as NAME=VALUE, not {pair!r}.")
        inputs[name] = value
    return inputs
