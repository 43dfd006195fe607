"""Guardrails: functions and rules that an answer must pass."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from oarlock.agents.definitions import check_llm, check_takes_one, text
from oarlock.agents.outputs import TaskOutput
from oarlock.agents.prompts import JUDGE, JUDGE_AGAIN
from oarlock.agents.structured import find
from oarlock.agents.templates import PLAIN
from oarlock.agents.work import Work, consult
from oarlock.contract.errors import ConfigurationError, GuardrailError, a_kind
from oarlock.contract.llm import BaseLLM
from oarlock.contract.records import dataclass
from oarlock.contract.reply import Usage
from oarlock.runtime import Runtime, drive

__all__ = ["Guardrail", "LLMGuardrail", "Verdict", "guardrails_of", "judge", "name_of"]

Guardrail: TypeAlias = str | Callable[[TaskOutput], Any]
"""A rule in words, judged by the agent's LLM, or a function, blocking or `async`: `(TaskOutput) -> (bool, value)`. An
`LLMGuardrail` is a rule with an LLM of its own."""

_ATTEMPTS: Final = 3  # questions to an LLM that judges, until one answer is a verdict
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"valid": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["valid", "reason"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class LLMGuardrail:
    """A guardrail in words that is judged by another LLM than the agent's. What that costs counts for the task.

    Args:
        description: the rule.
        llm: who judges.

    Raises:
        ConfigurationError: the rule says nothing, or this is no LLM.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> rule = LLMGuardrail("At most ten words", ScriptedLLM(['{"valid": false, "reason": "too long"}']))
        >>> rule(TaskOutput(raw="...", description="A line"))
        (False, 'too long')
    """

    description: str
    llm: BaseLLM

    def __post_init__(self) -> None:
        text("LLMGuardrail", "description", self.description)
        check_llm("LLMGuardrail", "llm", self.llm)

    def __call__(self, output: TaskOutput) -> tuple[bool, Any]:
        """Judge an answer, blocking; tasks do it within their run."""

        async def alone(runtime: Runtime) -> Verdict:
            work = Work(runtime=runtime, role="Judge", llm=self.llm, tools={}, messages=[], max_iter=_ATTEMPTS)
            return await judge(work, self, output)

        verdict = drive(alone)
        return verdict.passed, output.raw if verdict.passed else verdict.reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guardrail says: the answer passes, perhaps with another value in its place; or it fails for a reason."""

    passed: bool
    value: Any = None

    @property
    def reason(self) -> str:
        """Why the answer failed."""
        return str(self.value or "").strip() or "it did not pass the check"


def guardrails_of(owner: str, guardrail: object, guardrails: object) -> tuple[Guardrail, ...]:
    """Return all guardrails of a task, in order.

    Raises:
        ConfigurationError: something is neither a rule in words nor a function of one `TaskOutput`.
    """
    several = guardrails if isinstance(guardrails, Iterable) and not isinstance(guardrails, str) else (guardrails,)
    return tuple(_checked(owner, one) for one in (guardrail, *several) if one is not None)


def _checked(owner: str, guardrail: Any) -> Guardrail:
    if isinstance(guardrail, str):
        if not guardrail.strip():
            raise ConfigurationError(f"{owner}: a guardrail in words must say something, not {guardrail!r}.")
        return guardrail
    if not callable(guardrail):
        raise ConfigurationError(
            f"{owner}: a guardrail must be a function that takes the TaskOutput and returns (True, value) or "
            f"(False, reason), or a rule in words, not {guardrail!r}."
        )
    check_takes_one(f"{owner}: the guardrail {name_of(guardrail)}", guardrail, "the TaskOutput")
    return guardrail  # type: ignore[no-any-return]


def name_of(guardrail: Guardrail) -> str:
    """Return the rule in words, or the name of the function."""
    if isinstance(guardrail, str | LLMGuardrail):
        return guardrail if isinstance(guardrail, str) else guardrail.description
    return getattr(guardrail, "__name__", repr(guardrail))


async def judge(work: Work, guardrail: Guardrail, output: TaskOutput, number: int = 0) -> Verdict:
    """Return what the guardrail of this number says of an answer. What a function raises ends the run.

    Raises:
        ConfigurationError: a function did not return `(bool, value)`.
        GuardrailError: the LLM that judges gave no verdict.
        LLMError: it could not be asked.
    """
    if isinstance(guardrail, str):
        return await _judged_by_llm(work, guardrail, work.llm, output)
    if isinstance(guardrail, LLMGuardrail):
        return await _judged_by_llm(work, guardrail.description, guardrail.llm, output)
    said = await consult(work.runtime, f"{work.key}:{work.calls}:guardrail:{number}", guardrail, output)
    if isinstance(said, tuple | list) and len(said) == 2 and isinstance(said[0], bool):
        return Verdict(*said)
    raise ConfigurationError(
        f"The guardrail {name_of(guardrail)} returned {_shown(said)}; it must return (True, value) or (False, reason)."
    )


async def _judged_by_llm(work: Work, rule: str, llm: BaseLLM, output: TaskOutput) -> Verdict:
    judging = dataclasses.replace(
        work,
        llm=llm,
        purpose="judge",
        messages=[
            {"role": "system", "content": JUDGE.format(rule=rule)},
            {"role": "user", "content": f"The answer to check:\n{output.raw}"},
        ],
        tools={},
        usage=Usage(),
        window=None,
        prompts=PLAIN,
        json_schema=_SCHEMA if llm.supports_json_schema() else None,
    )
    said = ""
    try:
        for _ in range(_ATTEMPTS):
            said = (await judging.ask()).text
            if verdict := _verdict(said):
                return verdict
            judging.messages.append({"role": "assistant", "content": said})
            judging.say(JUDGE_AGAIN)
    finally:  # it is paid for, whatever comes of it
        work.usage += judging.usage
        work.calls = judging.calls
    raise GuardrailError(
        f"{llm} gave no verdict on the guardrail {rule[:100]!r}, asked {_ATTEMPTS} times. Word the rule more simply, "
        "or write it as a function.",
        text=output.raw,
        reasons=(f"no verdict: {said[:1000]}",),
    )


def _verdict(answer: str) -> Verdict | None:
    for found in reversed(list(find(answer))):
        try:
            said = json.loads(found)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict) and isinstance(said.get("valid"), bool):
            return Verdict(said["valid"], None if said["valid"] else said.get("reason"))
    return None


def _shown(said: object) -> str:
    return repr(said) if said is None or isinstance(said, bool) else a_kind(said)
