"""Guardrails: functions and rules that an answer must pass."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from oarlock.agents.outputs import TaskOutput
from oarlock.agents.prompts import JUDGE, JUDGE_AGAIN
from oarlock.agents.structured import find
from oarlock.agents.work import call_back
from oarlock.contract.errors import ConfigurationError, GuardrailError
from oarlock.contract.reply import Usage

if TYPE_CHECKING:
    from oarlock.agents.work import Work

__all__ = ["Guardrail", "Verdict", "guardrails_of", "judge"]

Guardrail: TypeAlias = str | Callable[[TaskOutput], Any]
"""A rule in words, judged by the agent's LLM, or a function, blocking or `async`: `(TaskOutput) -> (bool, value)`."""

_ATTEMPTS: Final = 3  # questions to an LLM that judges, until one answer is a verdict
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"valid": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["valid", "reason"],
    "additionalProperties": False,
}


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
    try:
        inspect.signature(guardrail).bind(None)
    except TypeError:
        name = getattr(guardrail, "__name__", repr(guardrail))
        raise ConfigurationError(f"{owner}: the guardrail {name} must take one argument, the TaskOutput.") from None
    except ValueError:  # a builtin that hides its signature
        pass
    return guardrail  # type: ignore[no-any-return]


async def judge(work: Work, guardrail: Guardrail, output: TaskOutput) -> Verdict:
    """Return what a guardrail says of an answer. What a function raises ends the run.

    Raises:
        ConfigurationError: a function did not return `(bool, value)`.
        GuardrailError: the LLM that judges gave no verdict.
        LLMError: it could not be asked.
    """
    if isinstance(guardrail, str):
        return await _judged_by_llm(work, guardrail, output)
    said = await call_back(work.runtime, guardrail, output)
    if isinstance(said, tuple | list) and len(said) == 2 and isinstance(said[0], bool):
        return Verdict(*said)
    name = getattr(guardrail, "__name__", repr(guardrail))
    raise ConfigurationError(
        f"The guardrail {name} returned {_shown(said)}; it must return (True, value) or (False, reason)."
    )


async def _judged_by_llm(work: Work, rule: str, output: TaskOutput) -> Verdict:
    judging = dataclasses.replace(
        work,
        messages=[
            {"role": "system", "content": JUDGE.format(rule=rule)},
            {"role": "user", "content": f"The answer to check:\n{output.raw}"},
        ],
        tools={},
        usage=Usage(),
        json_schema=_SCHEMA if work.llm.supports_json_schema() else None,
    )
    text = ""
    try:
        for _ in range(_ATTEMPTS):
            text = (await judging.ask()).text
            if verdict := _verdict(text):
                return verdict
            judging.messages.append({"role": "assistant", "content": text})
            judging.say(JUDGE_AGAIN)
    finally:  # it is paid for, whatever comes of it
        work.usage += judging.usage
        work.calls = judging.calls
    raise GuardrailError(
        f"{work.llm} gave no verdict on the guardrail {rule[:100]!r}, asked {_ATTEMPTS} times. Word the rule more simply, "
        "or write it as a function.",
        text=output.raw,
        reasons=(f"no verdict: {text[:1000]}",),
    )


def _verdict(text: str) -> Verdict | None:
    for found in reversed(list(find(text))):
        try:
            said = json.loads(found)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict) and isinstance(said.get("valid"), bool):
            return Verdict(said["valid"], None if said["valid"] else said.get("reason"))
    return None


def _shown(said: object) -> str:
    return repr(said) if said is None or isinstance(said, bool) else f"a {type(said).__name__}"
