"""What Oarlock leaves out on purpose, and what to use in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["INSTEAD", "not_in_oarlock"]

_FACTS: Final = "give an agent what it should know through a task's context, an input or a tool"
_PLAN: Final = "write the plan as tasks, or let a manager make it with process=Process.hierarchical"
_CODE: Final = "give the agent a tool that runs code where you want it to run"
_LOOPS: Final = "which loop an agent uses follows from llm.supports_function_calling()"
_FAILURES: Final = "kickoff(on_event=...) tells of each tool that failed: a ToolFinished with failed=True"
_FILES: Final = "give the agent a tool that reads the file, or an LLM of your own that is sent it"
_TRACES: Final = "no run is reported anywhere; kickoff(on_event=...) shows you every step"

INSTEAD: Final[Mapping[str, str]] = {
    "a2a": "reach a remote agent through a tool",
    "allow_code_execution": _CODE,
    "apps": "reach an application through a tool",
    "agent_executor": _LOOPS,
    "cache_handler": "a tool says with cache_function what may be given again, Agent(cache=True) that all may",
    "callbacks": "step_callback sees each step of an agent, a task's callback its output",
    "chat_llm": "kickoff(inputs) runs a crew; `oarlock chat` talks to a model",
    "checkpoint": "kickoff(durable=..., run_id=...) records a run, and goes on with it",
    "code_execution_mode": _CODE,
    "config": "give agents=[...] and tasks=[...], or read one YAML file with oarlock.project.load_crew",
    "converter_cls": "output_pydantic and output_json turn answers into objects, a guardrail into anything else",
    "embedder": _FACTS,
    "executor_class": _LOOPS,
    "from_checkpoint": "kickoff(durable=..., run_id=...) records a run, and goes on with it",
    "from_repository": "read agents from a YAML file: oarlock.project.load_crew, or @CrewBase",
    "has_tool_failures": _FAILURES,
    "id": "an agent goes by its role, a task by its name, and every run has result.run_id",
    "input_files": _FILES,
    "knowledge": _FACTS,
    "knowledge_config": _FACTS,
    "knowledge_sources": _FACTS,
    "max_reasoning_attempts": _PLAN,
    "mcps": "give servers of oarlock.mcp in tools=[...]",
    "max_tokens": "it is the LLM's: ChatLLM(max_tokens=...)",
    "memory": _FACTS,
    "messages": "kickoff(on_event=...) tells of each model call, with its messages and its answer",
    "model_dump": "it is a dataclass: dataclasses.asdict(...); to_dict() gives the values of a structured answer",
    "multimodal": _FILES,
    "name": "an agent goes by its role",
    "planning": _PLAN,
    "planning_config": _PLAN,
    "planning_llm": _PLAN,
    "prompt_file": "an agent's system_template, prompt_template and response_template say what it is told",
    "reasoning": _PLAN,
    "restore_from_state_id": "kickoff(durable=..., run_id=...) records a run, and goes on with it",
    "response_model": "output_pydantic asks for an answer of a model's form",
    "security_config": "every run and call has an id of its own: result.run_id, and current_call() in tools",
    "share_crew": _TRACES,
    "skills": "put what an agent should do into its backstory, or what it should know into a tool",
    "streamable": "MCPServerSSE speaks to servers of the older kind",
    "task_execution_output_json_files": _TRACES,
    "tool_failure_policy": "what a tool raises is told to the model; an after_tool_call hook may raise, or tell it otherwise",
    "tool_failures": _FAILURES,
    "tracing": _TRACES,
    "trained_agents_file": "write what an agent has learnt into its backstory",
}
"""What to do instead, by the names that users of CrewAI know."""


def not_in_oarlock(owner: str, name: str, value: Any) -> str:
    """Return the sentence for an argument that asks for what is not here.

    Example:
        >>> not_in_oarlock("Crew", "planning", True)
        'Crew(planning=True) is not in Oarlock: write the plan as tasks, or let a manager make it with process=Process.hierarchical.'
    """
    shown = repr(value)
    instead = INSTEAD.get(name)
    said = f"{owner}({name}={shown if len(shown) <= 60 else '...'}) is not in Oarlock"
    return f"{said}: {instead}." if instead else f"{said}."
