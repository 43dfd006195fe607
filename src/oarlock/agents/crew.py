"""`Crew`: agents, their tasks, and how they go about them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oarlock.agents.agent import Agent
from oarlock.agents.crew_run import Resumable, run_crew, run_with_hooks
from oarlock.agents.crew_settings import check_settings
from oarlock.agents.definitions import check_llm, checked
from oarlock.agents.graph import Order
from oarlock.agents.hierarchy import assignment_of, manager_of, staff_of
from oarlock.agents.hooks import Hook, check_hooks
from oarlock.agents.inputs import several
from oarlock.agents.limits import PerMinute
from oarlock.agents.outputs import CrewOutput
from oarlock.agents.run import Assignment
from oarlock.agents.streams import AsyncRunStream, RunStream, read_run, read_run_async
from oarlock.agents.task import Task
from oarlock.contract.checks import flag
from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.events import Event
from oarlock.contract.llm import BaseLLM
from oarlock.runtime import Runtime, drive, drive_async

if TYPE_CHECKING:
    from oarlock.agents.recording import Recording
    from oarlock.policies import Budget
    from oarlock.tools import Approver

__all__ = ["Crew", "Process"]

_log = logging.getLogger("oarlock.agents")

Listener = Callable[[Event], None]

_LATER = {
    "embedder": None,
    "knowledge_sources": None,
    "memory": False,
    "planning": False,
    "planning_llm": None,
    "share_crew": False,
}
_RENAMED = {"stream": "streams"}  # the name is that of a method


class Process(StrEnum):
    """How a crew goes about its tasks.

    Attributes:
        sequential: tasks in their order, or side by side where `async_execution` lets them.
        hierarchical: a manager gives each task to an agent, and checks what comes back.

    Example:
        >>> Process("hierarchical") is Process.hierarchical
        True
    """

    sequential = "sequential"
    hierarchical = "hierarchical"


@checked(later=_LATER, renamed=_RENAMED)
@dataclass(kw_only=True, eq=False, slots=True, weakref_slot=True)
class Crew:
    """Agents and the tasks that they do, in their order or side by side; each task sees the answers of those before it.

    Building one needs no key and no network. Runs never change it: one crew serves a thousand runs at once.

    Args:
        tasks: what to do, in this order; those with `async_execution` as soon as what they see is there. If one fails,
            those under way are awaited, and no further one begins.
        agents: who is there; default: the agents of the tasks.
        process: `Process.sequential`: each task is done by its agent. `Process.hierarchical`: a manager gives each task to
            the agents (to the task's own, if it has one), checks what comes back, and writes the answer.
        manager_llm: the manager's LLM, and that of all agents that have none of their own, in a sequential crew too.
        function_calling_llm: that of all agents that have none of their own; see `Agent`.
        manager_agent: the manager; default: one made of `manager_llm`.
        max_rpm: most model calls a minute of all its agents together, over all runs; further ones wait.
        verbose: show what happens, on the terminal.
        name: for logs.
        step_callback: called after each agent's own.
        task_callback: called with each `TaskOutput`, after the task's own callback.
        on_human_input: whom tasks with `human_input` ask, in place of the terminal: a function, blocking or `async`, that
            takes the `TaskOutput` and returns what to change, or nothing to accept it.
        on_approval: asked before each call of a dangerous tool, for agents without an `on_approval` of their own.
        cache: whether equal tool calls of a run are answered once, for agents that do not say so themselves; see `Agent`.
        before_kickoff_callbacks: functions, blocking or `async`, each called with a copy of the run's inputs; what it
            returns goes on in their place.
        after_kickoff_callbacks: each called with the `CrewOutput`; what it returns is the result in its place.
        output_log_file: where to write when each task began and ended, with its answer: a path, or `True` for `logs.txt`. Runs
            add to it: a line for each, or in a `.json` file an item of its list.
        record: where to record everything that happens in its runs, for `oarlock report`: the path of a file, or a `Recording`,
            which can leave content out. See `docs/report.md`.
        full_output: accepted for scripts that have it: a `CrewOutput` always has every task's output.
        before_llm_call: hooks around those of all its agents, a manager and delegated work included; see `Agent`.
        after_llm_call: likewise.
        before_tool_call: likewise.
        after_tool_call: likewise.
        budget: the most that a run may cost, such as `Budget(tokens=100_000)`; each run has its own count. For one count
            over several runs: `with budget:` around them.
        streams: `kickoff` and its like give a `CrewStreamingOutput`, to be read in chunks, and `akickoff_for_each` one for all
            runs; CrewAI's name for it, `Crew(stream=True)`, is taken as well. `crew.stream(inputs)` needs it not, and tells more.

    Raises:
        ConfigurationError: an unknown or missing argument, or a value that cannot work.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Poet", goal="Rhyme", backstory="", llm=ScriptedLLM(["Row, row."]))
        >>> crew = Crew(agents=[agent], tasks=[Task(description="A line about {topic}", agent=agent)])
        >>> print(crew.kickoff(inputs={"topic": "boats"}))
        Row, row.
    """

    tasks: list[Task]
    agents: list[Agent] = field(default_factory=list)
    process: Process = Process.sequential
    manager_llm: BaseLLM | None = None
    function_calling_llm: BaseLLM | None = None
    manager_agent: Agent | None = None
    max_rpm: int | None = None
    verbose: bool = False
    name: str = "crew"
    step_callback: Callable[[Any], Any] | None = None
    task_callback: Callable[[Any], Any] | None = None
    on_human_input: Callable[[Any], Any] | None = None
    on_approval: Approver | None = None
    cache: bool | None = None
    before_kickoff_callbacks: Sequence[Callable[[Any], Any]] = ()
    after_kickoff_callbacks: Sequence[Callable[[Any], Any]] = ()
    output_log_file: str | Path | bool | None = None
    record: str | Path | Recording | None = None
    full_output: bool = False
    before_llm_call: Hook | Sequence[Hook] = ()
    after_llm_call: Hook | Sequence[Hook] = ()
    before_tool_call: Hook | Sequence[Hook] = ()
    after_tool_call: Hook | Sequence[Hook] = ()
    budget: Budget | None = None
    streams: bool = False
    limit: PerMinute | None = field(default=None, init=False, repr=False)
    _manager: Agent | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.tasks = _all_of(Task, "tasks", self.tasks)
        self.agents = _all_of(Agent, "agents", self.agents)
        try:
            self.process = Process(self.process)
        except ValueError:
            raise ConfigurationError(
                f"Crew: process must be Process.sequential or Process.hierarchical, not {self.process!r}."
            ) from None
        self._require_tasks()
        for name in ("manager_llm", "function_calling_llm"):
            if (llm := getattr(self, name)) is not None:
                check_llm("Crew", name, llm)
        check_settings(self)
        check_hooks("Crew", self)
        Order(self.tasks)
        flag("Crew", "stream", self.streams)
        self._check_process()

    def _require_tasks(self) -> None:
        if not self.tasks:
            raise ConfigurationError("Crew: there are no tasks. Pass tasks=[Task(...)].")

    def _check_process(self) -> None:
        if self.manager_agent is not None and not isinstance(self.manager_agent, Agent):
            shown = type(self.manager_agent).__name__
            raise ConfigurationError(f"Crew: manager_agent must be an Agent, not of the type {shown}.")
        if self.process is Process.hierarchical:
            self._manager = manager_of(self)
            return
        if self.manager_agent is not None:
            raise ConfigurationError("Crew: manager_agent needs process=Process.hierarchical.")
        for task in self.tasks:
            if task.agent is None and len(self.agents) != 1:
                raise ConfigurationError(f"Crew: task {task.name!r} has no agent. Pass Task(agent=...).")
        if self.manager_llm is not None:
            served = ", ".join(agent.role for agent in staff_of(self) if agent.llm is None) or "nobody, as all have one"
            _log.info(
                "Crew %r is sequential: its manager_llm manages nothing, it serves the agents without an LLM (%s)",
                self.name,
                served,
            )

    def assignment(self, task: Task, inputs: Mapping[str, Any], budgets: dict[int, Budget]) -> Assignment:
        """Return a task with its inputs filled in. `budgets` are those of the run's agents, filled here.

        Raises:
            ConfigurationError: an input is missing, or its agent has no LLM.
        """
        return assignment_of(self, task, self._manager, inputs, budgets)

    def kickoff(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        user: Any = None,
        on_event: Listener | None = None,
        durable: str | None = None,
        run_id: str | None = None,
        record: str | Path | Recording | None = None,
    ) -> CrewOutput:
        """Run the crew, blocking; works inside a running event loop too.

        Args:
            inputs: values for the `{name}`s in roles, goals, backstories, descriptions and expected outputs.
            user: the end user on whose behalf the run happens, an object of yours: tools and sign-ins such as
                `oarlock.auth.OnBehalfOf` find it as `current_call().user`. A crew inside a tool serves the same user,
                unless it is given another.
            on_event: called with every `oarlock.contract.events.Event` as it happens; must be quick. Where tasks or tools
                run side by side, a blocking run calls it, and the other callbacks, from several threads.
            durable: the address of a database, `"sqlite:///runs.db"` or `"postgresql://..."`: each model call and tool call is
                recorded there, so that a run that was cut off goes on where it was. Needs `pip install 'oarlock[durable]'`.
            run_id: of a durable run: called again with it, the run goes on, or its result is returned. Default: a new one.
            record: in place of the crew's own.

        Raises:
            ConfigurationError: an input is missing, an agent has no LLM, or the record cannot be written; nothing has been
                asked yet.
            BudgetExceededError: the run, or one of its agents, has used up its budget.
            OarlockError: a model could not be asked, or gave no answer.
        """
        if durable is not None or run_id is not None:
            self._refuse_streams()
            result: CrewOutput = _durable().kickoff(
                self, inputs, user=user, on_event=on_event, durable=durable, run_id=run_id, record=record
            )
            return result
        if self.streams:
            return _in_chunks().streamed(self, inputs, user, on_event, record, blocking=True)  # type: ignore[no-any-return]
        return drive(partial(self.run, record=record), inputs, user, on_event)

    def stream(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        user: Any = None,
        on_event: Listener | None = None,
        record: str | Path | Recording | None = None,
    ) -> RunStream[CrewOutput]:
        """Run the crew and read its events as they happen, blocking; models are asked for their answers piece by piece.

        The run begins when the first event is asked for, goes no faster than you read, and ends when you leave. After the last
        event `.result` is the `CrewOutput`, or the run's error is raised.

        Args:
            inputs: see `kickoff`, as for the errors.
            user: likewise.
            on_event: likewise; it is called as things happen, before you read of them.
            record: see `kickoff`.

        Example:
            >>> from oarlock.events import ModelDelta
            >>> from oarlock.testing import ScriptedLLM
            >>> agent = Agent(role="Poet", goal="Rhyme", backstory="", llm=ScriptedLLM(["Row, row."]))
            >>> stream = Crew(agents=[agent], tasks=[Task(description="A line", agent=agent)]).stream()
            >>> [event.text for event in stream if isinstance(event, ModelDelta)]
            ['Row, ', 'row.']
            >>> stream.result.raw
            'Row, row.'
        """
        return read_run(lambda runtime, told: self.run(runtime, inputs, user, told, record=record), on_event)

    def astream(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        user: Any = None,
        on_event: Listener | None = None,
        record: str | Path | Recording | None = None,
    ) -> AsyncRunStream[CrewOutput]:
        """Run the crew and read its events as they happen: `async for event in crew.astream(inputs)`; see `stream`."""
        return read_run_async(lambda runtime, told: self.run(runtime, inputs, user, told, record=record), on_event)

    async def akickoff(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        user: Any = None,
        on_event: Listener | None = None,
        durable: str | None = None,
        run_id: str | None = None,
        record: str | Path | Recording | None = None,
    ) -> CrewOutput:
        """Run the crew on the running event loop, beside any number of other runs; see `kickoff`."""
        if durable is not None or run_id is not None:
            self._refuse_streams()
            result: CrewOutput = await _durable().akickoff(
                self, inputs, user=user, on_event=on_event, durable=durable, run_id=run_id, record=record
            )
            return result
        if self.streams:
            return _in_chunks().streamed(self, inputs, user, on_event, record, blocking=False)  # type: ignore[no-any-return]
        return await drive_async(partial(self.run, record=record), inputs, user, on_event)

    kickoff_async = akickoff

    def submit(self, inputs: Mapping[str, Any] | None = None, *, database: str, run_id: str | None = None) -> Any:
        """Have a worker run the crew, and return an `oarlock.durable.RunHandle`.

        The worker is `oarlock worker module:crew --database ...`, on this machine or others.

        Args:
            inputs: as for `kickoff`; they are kept in the database.
            database: `"postgresql://..."`, or `"sqlite:///runs.db"` for one worker on this machine.
            run_id: submitted again with it, the same run is meant. Default: a new one.

        Raises:
            ConfigurationError: an input cannot be kept, or the address cannot be one.
            RunChangedError: a run of this id is there, with other inputs or of another crew.
            RunStoreError: the database cannot be reached.
        """
        return _durable().submit(self, inputs, database=database, run_id=run_id)

    def kickoff_for_each(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        user: Any = None,
        on_event: Listener | None = None,
        record: str | Path | Recording | None = None,
    ) -> list[CrewOutput]:
        """Run the crew once for each of the inputs, one after the other, blocking."""
        return [self.kickoff(one, user=user, on_event=on_event, record=record) for one in several(inputs)]

    async def akickoff_for_each(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        user: Any = None,
        on_event: Listener | None = None,
        record: str | Path | Recording | None = None,
    ) -> list[CrewOutput]:
        """Run the crew for all of the inputs at once, on the running event loop; results come in their order."""
        if self.streams:
            return _in_chunks().streamed_for_each(self, inputs, user, on_event, record)  # type: ignore[no-any-return]
        given = several(inputs)

        async def all_of_them(runtime: Runtime) -> list[CrewOutput]:
            runs = (lambda one=one: self.run(runtime, one, user, on_event, record=record) for one in given)
            return await runtime.gather(*runs)

        return await drive_async(all_of_them)

    kickoff_for_each_async = akickoff_for_each

    def _refuse_streams(self) -> None:
        if self.streams:
            raise ConfigurationError(
                "Crew(stream=True) cannot be a durable run: read it without durable= and run_id=; or leave stream=True out, and "
                "read the run with on_event=, or from anywhere with oarlock.durable.RunHandle(run_id, database=...).events()."
            )

    def run(
        self,
        runtime: Runtime,
        inputs: Mapping[str, Any] | None,
        user: Any,
        on_event: Listener | None,
        resumable: Resumable | None = None,
        *,
        record: str | Path | Recording | None = None,
    ) -> Coroutine[Any, Any, CrewOutput]:
        """Return a run of the crew, to be driven by a runtime: what `kickoff` and its like are doors to."""
        run = run_with_hooks if self.before_kickoff_callbacks or self.after_kickoff_callbacks else run_crew
        return run(runtime, self, inputs, on_event, user=user, resumable=resumable, record=record)


def _in_chunks() -> Any:
    from oarlock.agents import chunks  # its pydantic models take longer to load than a run

    return chunks


def _durable() -> Any:
    # By name: agents know of no durable engine, and import-linter holds that; it is there when somebody asks for it.
    return import_module("oarlock.durable")


def _all_of(kind: type[Any], name: str, given: object) -> list[Any]:
    items = list(given) if isinstance(given, Iterable) and not isinstance(given, str | Mapping) else [given]
    for item in items:
        if not isinstance(item, kind):
            raise ConfigurationError(
                f"Crew: {name} must be a list of {kind.__name__} objects, and holds {a_kind(item)}."
            )
    return items
