"""`@CrewBase`: a class whose methods make agents and tasks from YAML files."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from oarlock.agents.agent import Agent
from oarlock.agents.located import Located
from oarlock.agents.task import Task
from oarlock.contract.errors import ConfigurationError
from oarlock.project.marks import marked
from oarlock.project.mcp_tools import get_mcp_tools
from oarlock.project.yaml_file import YamlFile, read_yaml

__all__ = ["Configs", "CrewBase"]

C = TypeVar("C", bound=type)

_FILES: Final = {"agents_config": "config/agents.yaml", "tasks_config": "config/tasks.yaml"}
# What an argument in a YAML file names: something that a method with this mark makes, or a marked member itself.
_MADE: Final = {
    "agent": "agent",
    "context": "task",
    "llm": "llm",
    "function_calling_llm": "llm",
    "tools": "tool",
}
_ITSELF: Final = {
    "callback": "callback",
    "step_callback": "callback",
    "output_json": "output_json",
    "output_pydantic": "output_pydantic",
}


def CrewBase(cls: C) -> C:  # noqa: N802  CrewAI's users know it by this name
    """Let a class make its agents and tasks from YAML files.

    `agents_config` and `tasks_config` name the files, from the folder of the class's own file on; without them they are
    `config/agents.yaml` and `config/tasks.yaml`, if those are there. In an object of the class they hold the files'
    content, for `Agent(config=self.agents_config["researcher"])`. `self.agents` and `self.tasks` are what the methods
    marked with `@agent` and `@task` make, in the order in which they are written.

    In the files, `agent`, `context`, `llm`, `tools`, `callback` and `step_callback` may name marked methods; an `llm` that
    none makes is the name of a model, such as `openai/gpt-4o`. A callback that takes nothing returns the function to call.

    `mcp_server_params` are MCP servers: the SDK's `StdioServerParameters`, mappings such as `{"url": ..., "transport":
    "streamable-http"}` or servers of `oarlock.mcp`, one or a list of them, and `mcp_connect_timeout` the seconds for connecting
    (30). `self.get_mcp_tools()` is then for `Agent(tools=...)`; with names it brings the tools of these names alone.

    Raises:
        ConfigurationError: when an object is made: a file is missing or wrong; the message has the file, line and key.

    Example:
        >>> from oarlock import Crew
        >>> from oarlock.project import agent, crew, task
        >>> from oarlock.testing import ScriptedLLM
        >>> @CrewBase
        ... class Poets:
        ...     agents_config = {"poet": {"role": "Poet", "goal": "Rhyme about {topic}"}}
        ...     tasks_config = {"line": {"description": "A line about {topic}", "agent": "poet"}}
        ...     @agent
        ...     def poet(self):
        ...         return Agent(config=self.agents_config["poet"], llm=ScriptedLLM(["Row, row."]))
        ...     @task
        ...     def line(self):
        ...         return Task(config=self.tasks_config["line"])
        ...     @crew
        ...     def crew(self):
        ...         return Crew(agents=self.agents, tasks=self.tasks)
        >>> print(Poets().crew().kickoff(inputs={"topic": "boats"}))
        Row, row.
    """
    written: Callable[..., None] = cls.__init__  # type: ignore[misc]

    @functools.wraps(written)
    def __init__(self: Any, *args: Any, **given: Any) -> None:  # noqa: N807
        _read_configs(self)  # before, so that the class's own code finds them; after, in case it has named others
        written(self, *args, **given)
        _read_configs(self)

    cls.__init__ = __init__  # type: ignore[misc]
    cls.agents = property(lambda self: _all_of(self, "agent", Agent))  # type: ignore[attr-defined]
    cls.tasks = property(lambda self: _all_of(self, "task", Task))  # type: ignore[attr-defined]
    if not hasattr(cls, "get_mcp_tools"):
        cls.get_mcp_tools = get_mcp_tools  # type: ignore[attr-defined]
    return cls


class Configs(Mapping[str, Located]):
    """The sections of a file, with the names in them resolved when a section is taken.

    Args:
        owner: the object whose marked methods make what the sections name.
        file: what stands in the file.
    """

    def __init__(self, owner: Any, file: YamlFile) -> None:
        self._owner = owner
        self._file = file

    def __getitem__(self, name: str) -> Located:
        if name not in self._file.content:
            near = get_close_matches(str(name), self._file.content, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(self._file.content) or 'none'}."
            raise ConfigurationError(f"{self._file.path}: there is no {name!r}. {hint}")
        section = self._file.content[name]
        if not isinstance(section, dict) or not all(isinstance(key, str) for key in section):
            raise ConfigurationError(f"{self._file.place(name)} must be a mapping of arguments.")
        settings = {key: self._resolved(name, key, value) for key, value in section.items()}
        lines = {"": self._file.lines.get((name,), 0), **self._file.below(name)}
        return Located(settings, str(self._file.path), name, lines)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a section, or the default if there is none."""
        return self[name] if name in self._file.content else default

    def __contains__(self, name: object) -> bool:
        return name in self._file.content

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.content)

    def __len__(self) -> int:
        return len(self._file.content)

    def __repr__(self) -> str:
        return f"<{self._file.path}: {', '.join(self._file.content)}>"

    def _resolved(self, section: str, key: str, value: Any) -> Any:
        if isinstance(value, list) and key in ("context", "tools"):
            return [self._resolved(section, key, one) for one in value]
        if not isinstance(value, str):
            return value
        kind = _MADE.get(key) or _ITSELF.get(key)
        if kind is None:
            return value.strip()  # folded texts end with a line break
        names = marked(type(self._owner), kind)
        if value in names:
            member = getattr(self._owner, value)
            return member() if key in _MADE or (kind == "callback" and _takes_nothing(member)) else member
        if kind == "llm":
            return value
        raise ConfigurationError(
            f"{self._file.place(section, key)}: {_no_such(type(self._owner).__name__, kind, value, names)}"
        )


def _takes_nothing(method: Callable[..., Any]) -> bool:
    """Return whether a callback is one of CrewAI's kind, which makes the function to call."""
    return not inspect.signature(method).parameters


def _no_such(owner: str, kind: str, value: str, names: list[str]) -> str:
    near = get_close_matches(value, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names) or 'none'}."
    return f"{owner} has no @{kind} method {value!r}. {hint}"


def _read_configs(self: Any) -> None:
    for name, usual in _FILES.items():
        given = getattr(self, name, None)
        if isinstance(given, Configs):
            continue
        setattr(self, name, Configs(self, _file_of(type(self), name, given, usual)))


def _file_of(cls: type, name: str, given: Any, usual: str) -> YamlFile:
    if isinstance(given, dict):
        return YamlFile(path=Path(f"{cls.__name__}.{name}"), content=given, lines={})
    if given is not None and not isinstance(given, str | Path):
        raise ConfigurationError(
            f"{cls.__name__}.{name} must be the path of a YAML file or a mapping, not of the type {type(given).__name__}."
        )
    path = _folder(cls) / (given or usual)
    if given is None and not path.exists():
        return YamlFile(path=path, content={}, lines={})
    try:
        return read_yaml(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"{cls.__name__}.{name}: {error}") from error


def _folder(cls: type) -> Path:
    """Return the folder of the file that a class is written in; where there is none, the working folder."""
    for base in cls.__mro__:
        if any(name in vars(base) for name in _FILES):  # a class derived elsewhere keeps its base's files
            cls = base
            break
    try:
        return Path(inspect.getfile(cls)).resolve().parent
    except (TypeError, OSError):
        return Path.cwd()


def _all_of(self: Any, kind: str, of: type) -> list[Any]:
    made = []
    for name in marked(type(self), kind):
        one = getattr(self, name)()
        if not isinstance(one, of):
            raise ConfigurationError(
                f"{type(self).__name__}.{name}() must return {'an' if kind == 'agent' else 'a'} {of.__name__}, not of the "
                f"type {type(one).__name__}."
            )
        made.append(one)
    return made
