"""What a reader does with a script that only builds: kick off its crew, give its agents a task, ask its LLM.

Most blocks of a documentation build something and stop there. Whether it works shows only when it is used.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_NAME = re.compile(r"\{([A-Za-z_]\w*)\}")
_MARK = "_oarlock_mark"


def go_on(names: Mapping[str, Any]) -> str:
    """Use what a script has left behind; return what that was, empty if there is nothing to use.

    Args:
        names: the script's globals.
    """
    import oarlock

    things = list(_flat(names.values()))
    found = {
        kind: [one for one in things if isinstance(one, kind)] for kind in (oarlock.Crew, oarlock.Task, oarlock.Agent)
    }
    crews = found[oarlock.Crew] or [crew for cls in _crew_classes(names) for crew in _crews_of(cls)]
    if crews:
        for crew in crews:
            _kick_off(crew)
        return "crew"
    if found[oarlock.Task]:
        _kick_off(_crew(found[oarlock.Task], found[oarlock.Agent]))
        return "task"
    if found[oarlock.Agent]:
        _kick_off(_crew([_task(agent) for agent in found[oarlock.Agent]], []))
        return "agent"
    if llms := [*_llms(names, things)]:
        for llm in llms:
            llm.call("Say hello.")
        return "llm"
    if tools := _tools(names, things):
        _kick_off(_crew([_task(_agent(tools=tools))], []))
        return "tool"
    if _is_heard():
        _kick_off(_crew([_task(_agent(tools=[_look()]))], []))
        return "hook"
    return ""


def _is_heard() -> bool:
    """Return whether the script has registered hooks, or handlers of events."""
    from oarlock.agents.hooks import Hooks
    from oarlock.compat.crewai.events.event_bus import crewai_event_bus

    return Hooks.everywhere is not None or crewai_event_bus.has_handlers


def _look() -> Any:
    from crewai.tools import tool

    def look(query: str) -> str:
        """Look something up."""
        return "A result."

    return tool("look")(look)


def _llms(names: Mapping[str, Any], things: Iterable[Any]) -> Iterator[Any]:
    """Yield the script's LLMs, and objects of its classes of LLMs."""
    from oarlock import BaseLLM

    yield from (one for one in things if isinstance(one, BaseLLM))
    for one in names.values():
        if isinstance(one, type) and issubclass(one, BaseLLM) and one.__module__ == names.get("__name__"):
            wanted = inspect.signature(one).parameters.values()
            needed = [
                part.name for part in wanted if part.default is part.empty and part.kind is part.POSITIONAL_OR_KEYWORD
            ]
            yield one(
                *("https://llm.example.com/ask" if re.search("url|endpoint", name) else "scripted" for name in needed)
            )


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple | set):
            yield from value
        elif isinstance(value, dict):
            yield from value.values()
        else:
            yield value


def _crew_classes(names: Mapping[str, Any]) -> list[type]:
    classes = [one for one in names.values() if isinstance(one, type) and one.__module__ == names.get("__name__")]
    return [one for one in classes if any(getattr(part, _MARK, "") == "crew" for part in vars(one).values())]


def _crews_of(cls: type) -> Iterator[Any]:
    made = cls()
    for name, part in vars(cls).items():
        if getattr(part, _MARK, "") == "crew":
            yield getattr(made, name)()


def _tools(names: Mapping[str, Any], things: Iterable[Any]) -> list[Any]:
    """Return the script's tools, and objects of its classes of tools that need nothing."""
    from oarlock import BaseTool

    tools: list[Any] = [one for one in things if isinstance(one, BaseTool)]
    for one in names.values():
        own = isinstance(one, type) and issubclass(one, BaseTool) and one.__module__ == names.get("__name__")
        if (
            own
            and not any(isinstance(tool, one) for tool in tools)
            and not one._oarlock_fields.required - {"name", "description"}
        ):
            tools.append(one())
    return list({tool.function_name: tool for tool in tools}.values())


def _agent(**given: Any) -> Any:
    from crewai import Agent

    return Agent(role="Helper", goal="Do what is asked", backstory="Experienced", **given)


def _task(agent: Any) -> Any:
    from crewai import Task

    return Task(description="Show what you can do", expected_output="A report", agent=agent)


def _crew(tasks: list[Any], agents: list[Any]) -> Any:
    from crewai import Crew

    staffed = agents or [task.agent for task in tasks if task.agent] or [_agent()]
    idle = [task for task in tasks if task.agent is None]
    for task in idle:
        task.agent = staffed[0]
    return Crew(agents=list({id(one): one for one in staffed}.values()), tasks=tasks)


def _kick_off(crew: Any) -> None:
    """Run a crew with a word for each name in its texts, and read its stream where it gives one."""
    agents = [
        *crew.agents,
        *(task.agent for task in crew.tasks if task.agent),
        *([crew.manager_agent] if crew.manager_agent else []),
    ]
    texts = [text for agent in agents for text in (agent.role, agent.goal, agent.backstory)]
    texts += [text for task in crew.tasks for text in (task.description, task.expected_output, task.output_file or "")]
    result = crew.kickoff(inputs={name: "tides" for text in texts for name in _NAME.findall(text)})
    if not hasattr(result, "raw"):
        for _ in result:
            pass
