"""`crewai.hooks`: the global decorators and registries, and methods of `@CrewBase` classes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from oarlock import Agent, ConfigurationError, Crew, Task, ToolCall, tool
from oarlock.agents import Hooks
from oarlock.compat.crewai import hooks
from oarlock.compat.crewai.hooks import (
    HookAborted,
    InterceptionPoint,
    after_llm_call,
    after_tool_call,
    before_llm_call,
    before_tool_call,
    on,
)
from oarlock.compat.crewai.project import CrewBase, agent, crew, task
from oarlock.testing import ScriptedLLM


@pytest.fixture(autouse=True)
def no_hooks_stay() -> Iterator[None]:
    yield
    hooks.clear_all_hooks()
    assert Hooks.everywhere is None


@tool("Delete File")
def delete_file(path: str) -> str:
    """Delete a file."""
    return f"{path} is gone"


def crew_of(*script: Any, role: str = "Clerk") -> tuple[Crew, ScriptedLLM]:
    llm = ScriptedLLM(script, supports_function_calling=True)
    clerk = Agent(role=role, goal="G", llm=llm, tools=[delete_file])
    return Crew(agents=[clerk], tasks=[Task(description="D", agent=clerk)]), llm


def delete(path: str) -> ToolCall:
    return ToolCall(id="1", name="delete_file", arguments=json.dumps({"path": path}))


def test_the_decorators_register_for_all_crews_also_in_other_threads() -> None:
    seen: list[str] = []

    @before_llm_call
    def count(context: Any) -> str:
        seen.append("before")
        return "not an answer here"

    @after_llm_call
    def shout(context: Any) -> Any:
        return context.response.upper()

    made, _ = crew_of("done", "again")
    assert made.kickoff().raw == "DONE"
    thread = threading.Thread(target=made.kickoff)
    thread.start()
    thread.join()
    assert seen == ["before", "before"]
    assert hooks.get_before_llm_call_hooks() == [count]
    assert hooks.unregister_before_llm_call_hook(count)
    assert not hooks.unregister_before_llm_call_hook(count)
    assert hooks.get_before_llm_call_hooks() == []


def test_false_forbids() -> None:
    before_tool_call(lambda context: not context.tool_input["path"].startswith("/"))
    made, llm = crew_of(delete("/etc/passwd"), delete("notes"), "done")
    assert made.kickoff().raw == "done"
    told = [message["content"] for message in llm.requests[-1].messages if message["role"] == "tool"]
    assert told == ["Error: 'delete_file' was not run: it is not allowed here.", "notes is gone"]
    before_llm_call(lambda context: False)
    with pytest.raises(ValueError, match="does not allow this model call"):
        made.kickoff()


def test_an_abort_of_a_tool_is_told_and_one_of_a_model_call_raised() -> None:
    @on(InterceptionPoint.PRE_TOOL_CALL, tools=["Delete File"])
    def block(context: Any) -> None:
        raise HookAborted(reason="files are precious", source="policy")

    made, llm = crew_of(delete("notes"), "fine", "again")
    assert made.kickoff().raw == "fine"
    assert "it was blocked by a hook: files are precious." in str(llm.requests[-1].messages[-1]["content"])
    hooks.clear_hooks(InterceptionPoint.PRE_TOOL_CALL)

    @on(InterceptionPoint.PRE_MODEL_CALL)
    def stop(context: Any) -> None:
        raise HookAborted("enough", source=stop)

    with pytest.raises(HookAborted, match="enough") as caught:
        made.kickoff()
    assert (caught.value.reason, caught.value.source) == ("enough", stop)


def test_filters_by_tool_and_role() -> None:
    seen: list[str] = []
    before_tool_call(tools=["Other"])(lambda context: seen.append("other tool"))
    before_tool_call(tools=["delete_file"])(lambda context: seen.append("tool"))
    after_tool_call(agents=["Clerk"])(lambda context: f"{context.tool_result}!")
    after_llm_call(agents=["Boss"])(lambda context: "never")
    made, llm = crew_of(delete("notes"), "done")
    assert made.kickoff().raw == "done"
    assert seen == ["tool"]
    assert llm.requests[-1].messages[-1]["content"] == "notes is gone!"


def test_registering_and_clearing() -> None:
    def one(context: Any) -> None:
        return None

    for kind in ("before_llm_call", "after_llm_call", "before_tool_call", "after_tool_call"):
        getattr(hooks, f"register_{kind}_hook")(one)
        assert getattr(hooks, f"get_{kind}_hooks")() == [one]
    assert hooks.clear_all_global_hooks() == {"llm_hooks": (1, 1), "tool_hooks": (1, 1), "total": (2, 2)}
    hooks.register_hook(InterceptionPoint.POST_TOOL_CALL, one)
    assert hooks.get_hooks(InterceptionPoint.POST_TOOL_CALL) == [one]
    assert hooks.unregister_hook(InterceptionPoint.POST_TOOL_CALL, one)


def test_methods_of_a_crew_class_are_hooks_of_that_crew_alone() -> None:
    seen: list[str] = []

    @CrewBase
    class Mine:
        @agent
        def clerk(self) -> Agent:
            return Agent(role="Clerk", goal="G", llm=ScriptedLLM(["mine"]))

        @task
        def work(self) -> Task:
            return Task(description="D", agent=self.clerk())

        @before_llm_call
        def watch(self, context: Any) -> None:
            seen.append(f"{type(self).__name__} {context.iterations}")

        @after_llm_call(agents=["Clerk"])
        def shout(self, context: Any) -> str:
            return str(context.response).upper()

        @crew
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks)

    assert Hooks.everywhere is None
    assert Mine().crew().kickoff().raw == "MINE"
    assert seen == ["Mine 1"]
    other, _ = crew_of("other")
    assert other.kickoff().raw == "other"
    assert seen == ["Mine 1"]


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("EXECUTION_START", "before_kickoff_callbacks"),
        ("INPUT", "before_kickoff_callbacks"),
        ("PRE_STEP", "on_event"),
        ("POST_STEP", "guardrail"),
        ("OUTPUT", "after_kickoff_callbacks"),
        ("EXECUTION_END", "on_event"),
    ],
)
def test_points_that_are_not_here_say_what_to_use(name: str, instead: str) -> None:
    point = hooks.InterceptionPoint[name]
    for register in (hooks.on, lambda point: hooks.register_hook(point, print)):
        with pytest.raises(ConfigurationError, match=rf"InterceptionPoint\.{name} is not in Oarlock: .*{instead}"):
            register(point)
    assert hooks.get_hooks(point) == []
    assert hooks.clear_hooks(point) == 0
