"""`Agent`: who does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oarlock.agents.approval import check_approver, check_cache
from oarlock.agents.definitions import check_budget, check_llm, checked, text, tools_of
from oarlock.agents.hooks import Hook, check_hooks
from oarlock.agents.limits import PerMinute, per_minute
from oarlock.agents.run import execute_alone
from oarlock.agents.streams import AsyncRunStream, RunStream, read_run, read_run_async
from oarlock.agents.window import CountTokens, check_count_tokens
from oarlock.contract.checks import flag, positive
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM
from oarlock.runtime import drive, drive_async

if TYPE_CHECKING:
    from oarlock.agents.outputs import TaskOutput
    from oarlock.agents.task import Task
    from oarlock.policies import Budget
    from oarlock.tools import Approver, BaseTool

__all__ = ["Agent"]

_LATER = {
    "allow_code_execution": False,
    "function_calling_llm": None,
    "inject_date": False,
    "knowledge_sources": None,
    "max_retry_limit": 2,
    "memory": False,
    "multimodal": False,
    "prompt_template": None,
    "reasoning": False,
    "response_template": None,
    "system_template": None,
}


@checked(later=_LATER)
@dataclass(kw_only=True, eq=False, slots=True, weakref_slot=True)
class Agent:
    """Somebody with a role, a goal and a story, a language model to think with, and tools to act with.

    Building one needs no key and no network. Runs never change it, so one agent serves any number of them at once.

    Args:
        role: who the agent is; `{name}`s are filled in from the run's inputs, here and in the next two.
        goal: what the agent is after.
        backstory: where the agent comes from, and how it works.
        llm: any `BaseLLM`. Without one the crew's `manager_llm` serves; nothing else ever does.
        tools: functions marked with `@tool`, or `BaseTool` objects.
        max_iter: most model calls for one task; the last one must answer, without tools.
        max_execution_time: seconds for one task, after which model calls and tools are given up, also those that hang.
        max_rpm: most model calls a minute, over all runs, delegated or not; further ones wait.
        verbose: show what happens, on the terminal.
        allow_delegation: let it give work to the other agents of its crew, and ask them, with two tools.
        step_callback: called with an `AgentAction` after each tool call and an `AgentFinish` at the end.
        respect_context_window: shorten a conversation that does not fit into the model's context window: see `docs/crews.md`.
            Otherwise it is sent as it is, and the endpoint's error ends the run.
        count_tokens: a function that returns the tokens of a text, or how many there are, such as the `encode` of a
            tokenizer; default: the endpoint's own figures, and estimates for what came since.
        before_llm_call: a function, blocking or `async`, or a list of them, called before each model call with an
            `LLMCallHookContext`: it may change the messages, return the answer in place of the model, or forbid the call with
            `False`. See `docs/crews.md`.
        after_llm_call: the same after each; it may return another text or `Reply` in place of the answer.
        before_tool_call: the same before each tool call, with a `ToolCallHookContext`: it may change the arguments, return
            the result in place of the tool, or forbid the call with `False`.
        after_tool_call: the same after each; it may return another text in place of the result.
        cache: `True`: equal calls of its tools in one run are answered once, except those of dangerous tools and of tools
            with `cache_function=False`. Default: only those of tools that say so themselves with a `cache_function`, since
            the library cannot know which tools only read. `False`: none.
        on_approval: asked before each call of a dangerous tool: a function, blocking or `async`, that takes an
            `ApprovalRequest` and returns `True`, `False`, a reason to refuse it, or a mapping of other arguments to run it
            with. Default: the crew's, else the terminal.
        budget: the most that the agent's work may cost in one run, model calls of its tools included; each run has its
            own count. For one count over all runs: `with budget:` around them.

    Raises:
        ConfigurationError: an unknown or missing argument, or a value that cannot work.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> agent = Agent(role="Poet", goal="Rhyme", backstory="Born on a boat.", llm=ScriptedLLM(["Row, row."]))
        >>> agent.kickoff("A line, please.").raw
        'Row, row.'
    """

    role: str
    goal: str
    backstory: str = ""
    llm: BaseLLM | None = None
    tools: list[Any] = field(default_factory=list)
    max_iter: int = 25
    max_execution_time: float | None = None
    max_rpm: int | None = None
    verbose: bool = False
    allow_delegation: bool = False
    step_callback: Callable[[Any], Any] | None = None
    respect_context_window: bool = True
    count_tokens: CountTokens | None = None
    before_llm_call: Hook | Sequence[Hook] = ()
    after_llm_call: Hook | Sequence[Hook] = ()
    before_tool_call: Hook | Sequence[Hook] = ()
    after_tool_call: Hook | Sequence[Hook] = ()
    cache: bool | None = None
    on_approval: Approver | None = None
    budget: Budget | None = None
    limit: PerMinute | None = field(default=None, init=False, repr=False)
    _tools_by_name: dict[str, BaseTool] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        text("Agent", "role", self.role)
        owner = f"Agent {self.role!r}"
        text(owner, "goal", self.goal)
        if self.llm is not None:
            check_llm(owner, "llm", self.llm)
        if not isinstance(self.max_iter, int) or isinstance(self.max_iter, bool) or self.max_iter < 1:
            raise ConfigurationError(f"{owner}: max_iter must be a whole number of at least 1, not {self.max_iter!r}.")
        if self.max_execution_time is not None:
            positive(owner, "max_execution_time", self.max_execution_time)
        self.limit = per_minute(owner, self.max_rpm)
        flag(owner, "allow_delegation", self.allow_delegation)
        check_cache(owner, self.cache)
        check_approver(owner, self.on_approval)
        check_budget(owner, self.budget)
        flag(owner, "respect_context_window", self.respect_context_window)
        check_count_tokens(owner, self.count_tokens)
        check_hooks(owner, self)
        if self.tools:
            self.tools = list(self.tools)
            tools_of(owner, self.tools)

    def execute_task(self, task: Task, context: str | None = None, tools: list[Any] | None = None) -> str:
        """Do one task, blocking, and return the answer's text.

        Args:
            task: what to do; who else may be named in it does not matter.
            context: what to know beforehand.
            tools: in place of the task's and the agent's own.

        Raises:
            ConfigurationError: the agent has no LLM.
            LLMError: the model could not be asked.
            StepsExhaustedError: no answer within `max_iter` model calls.
        """
        return drive(execute_alone, self, task, context, tools).raw

    async def aexecute_task(self, task: Task, context: str | None = None, tools: list[Any] | None = None) -> str:
        """Do one task from a coroutine; the same as `execute_task`."""
        return (await drive_async(execute_alone, self, task, context, tools)).raw

    def kickoff(self, prompt: str, response_format: type[Any] | None = None) -> TaskOutput:
        """Answer one prompt without a crew, blocking; `str()` of the result is the text.

        Args:
            prompt: what to answer.
            response_format: a pydantic model that the answer must fit; the object is the result's `.pydantic`.
        """
        return drive(execute_alone, self, _prompted(self, prompt, response_format))

    async def akickoff(self, prompt: str, response_format: type[Any] | None = None) -> TaskOutput:
        """Answer one prompt from a coroutine; the same as `kickoff`."""
        return await drive_async(execute_alone, self, _prompted(self, prompt, response_format))

    def stream(self, prompt: str, response_format: type[Any] | None = None) -> RunStream[TaskOutput]:
        """Answer one prompt and read the events as they happen, blocking; `.result` is what `kickoff` returns.

        Example:
            >>> from oarlock.events import ModelDelta
            >>> from oarlock.testing import ScriptedLLM
            >>> agent = Agent(role="Poet", goal="Rhyme", backstory="", llm=ScriptedLLM(["Row, row."]))
            >>> for event in agent.stream("A line, please."):
            ...     if isinstance(event, ModelDelta):
            ...         print(event, end="|")
            Row, |row.|
        """
        task = _prompted(self, prompt, response_format)
        return read_run(lambda runtime, told: execute_alone(runtime, self, task, on_event=told))

    def astream(self, prompt: str, response_format: type[Any] | None = None) -> AsyncRunStream[TaskOutput]:
        """Answer one prompt and read the events as they happen: `async for event in agent.astream("...")`; see `stream`."""
        task = _prompted(self, prompt, response_format)
        return read_run_async(lambda runtime, told: execute_alone(runtime, self, task, on_event=told))


def _prompted(agent: Agent, prompt: str, response_format: type[Any] | None) -> Task:
    from oarlock.agents.task import Task  # a Task knows its Agent, and so its module this one

    return Task(description=prompt, agent=agent, output_pydantic=response_format)
