"""`Agent`: who does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oarlock.agents.approval import check_approver, check_cache
from oarlock.agents.definitions import check_budget, check_llm, checked, function, items, text, tools_of
from oarlock.agents.guardrails import Guardrail, guardrails_of
from oarlock.agents.hooks import Hook, check_hooks
from oarlock.agents.limits import PerMinute, Tries, per_minute, tries
from oarlock.agents.run import execute_alone
from oarlock.agents.streams import AsyncRunStream, RunStream, read_run, read_run_async
from oarlock.agents.templates import check_templates
from oarlock.agents.window import CountTokens, check_count_tokens
from oarlock.contract.checks import flag, positive, whole
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
    "knowledge_sources": None,
    "mcps": None,
    "memory": False,
    "multimodal": False,
    "reasoning": False,
}


@checked(later=_LATER, usual=("role", "goal", "backstory", "llm", "tools"))
@dataclass(kw_only=True, eq=False, slots=True, weakref_slot=True)
class Agent:
    """Somebody with a role, a goal and a story, a language model to think with, and tools to act with.

    Building one needs no key and no network. Runs never change it, so one agent serves any number of them at once.

    Args:
        role: who the agent is; `{name}`s are filled in from the run's inputs, here and in the next two.
        goal: what the agent is after.
        backstory: where the agent comes from, and how it works.
        llm: any `BaseLLM`. Without one the crew's `manager_llm` serves; nothing else ever does.
        function_calling_llm: an LLM for the model calls in which tools may be called; once it calls no more, `llm` writes
            the answer. It must be able to call functions. Default: the crew's, else `llm` does all.
        tools: functions marked with `@tool`, or `BaseTool` objects.
        max_iter: most model calls for one task; the last one must answer, without tools.
        max_execution_time: seconds for one task, after which model calls and tools are given up, also those that hang.
        max_rpm: most model calls a minute, over all runs, delegated or not; further ones wait.
        max_retry_limit: how often a model call that failed is tried again at most, if that may heal it: that of the LLM's
            `Retry` policy, in its place. Default: the LLM's policies decide; an agent by itself tries nothing again.
        verbose: show what happens, on the terminal.
        allow_delegation: let it give work to the other agents of its crew, and ask them, with two tools.
        step_callback: called with an `AgentAction` after each tool call and an `AgentFinish` at the end.
        guardrail: what the answers of `kickoff` must pass, as in `Task`.
        guardrail_max_retries: how many times it may try again then.
        system_template: a text around the system prompt, which stands at its `{{ .System }}`; `{name}`s are filled in, `role`,
            `goal` and `backstory` among them, here and in the next two.
        prompt_template: a text around the task, which stands at its `{{ .Prompt }}`.
        response_template: what stands before `{{ .Response }}` ends the prompt, what stands behind it ends the answer.
        use_system_prompt: `False`: what would be the system prompt begins the user's message, for models that take none.
        inject_date: tell it the date of today, in local time.
        date_format: how, in the form of `strftime`.
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
    function_calling_llm: BaseLLM | None = None
    tools: list[Any] = field(default_factory=list)
    max_iter: int = 25
    max_execution_time: float | None = None
    max_rpm: int | None = None
    max_retry_limit: int | None = None
    verbose: bool = False
    allow_delegation: bool = False
    step_callback: Callable[[Any], Any] | None = None
    guardrail: Guardrail | None = None
    guardrail_max_retries: int = 3
    system_template: str | None = None
    prompt_template: str | None = None
    response_template: str | None = None
    use_system_prompt: bool = True
    inject_date: bool = False
    date_format: str = "%Y-%m-%d"
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
    tries: Tries | None = field(default=None, init=False, repr=False)
    _tools_by_name: dict[str, BaseTool] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        text("Agent", "role", self.role)
        owner = f"Agent {self.role!r}"
        text(owner, "goal", self.goal)
        text(owner, "backstory", self.backstory, empty=True)
        if self.llm is not None:
            check_llm(owner, "llm", self.llm)
        if self.tools != []:
            self.tools = items(owner, "tools", self.tools)
            tools_of(owner, self.tools)

    def _check_settings(self) -> None:
        owner = f"Agent {self.role!r}"
        if self.function_calling_llm is not None:
            check_llm(owner, "function_calling_llm", self.function_calling_llm)
        for name in ("verbose", "allow_delegation", "respect_context_window"):
            flag(owner, name, getattr(self, name))
        function(owner, "step_callback", self.step_callback, "the step")
        self._check_limits(owner)
        check_cache(owner, self.cache)
        check_approver(owner, self.on_approval)
        check_count_tokens(owner, self.count_tokens)
        check_templates(owner, self)
        check_hooks(owner, self)
        guardrails_of(owner, self.guardrail, None)

    def _check_limits(self, owner: str) -> None:
        whole(owner, "max_iter", self.max_iter)
        whole(owner, "guardrail_max_retries", self.guardrail_max_retries, least=0)
        if self.max_execution_time is not None:
            positive(owner, "max_execution_time", self.max_execution_time)
        self.limit = per_minute(owner, self.max_rpm)
        self.tries = tries(owner, self.max_retry_limit)
        check_budget(owner, self.budget)

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

    return Task(
        description=prompt,
        agent=agent,
        output_pydantic=response_format,
        guardrail=agent.guardrail,
        guardrail_max_retries=agent.guardrail_max_retries,
    )
