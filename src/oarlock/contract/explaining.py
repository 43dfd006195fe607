"""An LLM and its policies in words."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING

from oarlock.contract.order import ready_kinds, remarks
from oarlock.contract.policy import Policy, in_default_order
from oarlock.contract.secret import scrub

if TYPE_CHECKING:
    from oarlock.contract.llm import BaseLLM

__all__ = ["explained"]

_COLUMNS = 100
_LONGEST = 2000  # characters of one entry; a user's own `explain()` may say anything


def explained(core: BaseLLM, policies: tuple[Policy, ...]) -> str:
    """Return lines on each policy, from the outside in, on the LLM itself, and on what is unusual in the order."""
    entries = [_entry(policy) for policy in policies]
    entries.append(f"The LLM itself: {core.explain_itself()}")
    lines = ["A call passes, from the outside in:"]
    lines += [_wrapped(f"{number:3}. ", entry) for number, entry in enumerate(entries, 1)]
    if not policies:
        lines.append("No policies: a failure ends the call at once.")
    notes = [*remarks(policies), *_unguarded(core, policies), *_short_deadlines(core, policies)]
    if notes:
        lines += ["Notes:", *(_wrapped("   - ", note) for note in notes)]
    return "\n".join(lines)


def own_code(llm: BaseLLM, methods: frozenset[str]) -> str:
    """Return a sentence on an LLM that a user's own code answers for."""
    text = f"{llm!r}, answered by its own {' and '.join(f'{name}()' for name in sorted(methods))}."
    if llm.policies:
        names = ", ".join(_name(policy) for policy in in_default_order(llm.policies))
        text += f" Where that asks through super(), these stand in between: {names}."
    return text


def _unguarded(core: BaseLLM, policies: tuple[Policy, ...]) -> list[str]:
    """Remark that an LLM with an attempt's timeout has lost its usual policies: those that it is given replace them."""
    kinds = {kind for policy in policies for kind in ready_kinds(policy)}
    if not policies or not hasattr(core, "timeout") or kinds & {"Retry", "Deadline"}:
        return []
    return ["There is neither Retry nor Deadline: a failure ends the call at once, since policies=[...] replaces both."]


def _short_deadlines(core: BaseLLM, policies: tuple[Policy, ...]) -> list[str]:
    timeout = getattr(core, "timeout", None)
    deadlines = [float(policy.seconds) for policy in policies if "Deadline" in ready_kinds(policy)]  # type: ignore[attr-defined]
    if not isinstance(timeout, int | float) or not deadlines or min(deadlines) >= timeout:
        return []
    return [f"The deadline of {min(deadlines):g} s is shorter than the {timeout:g} s that an attempt may take."]


def _entry(policy: Policy) -> str:
    name, sentence = _name(policy), _sentence(policy)
    return sentence if sentence.startswith(f"{name} ") else f"{name}: {sentence}"


def _name(policy: Policy) -> str:
    return getattr(policy, "__name__", None) or type(policy).__name__


def _sentence(policy: Policy) -> str:
    explain = getattr(policy, "explain", None)
    if explain is not None:
        return str(explain())
    doc = inspect.getdoc(policy)
    return doc.partition("\n")[0] if doc else "a policy of your own, without a docstring."


def _wrapped(start: str, text: str) -> str:
    return textwrap.fill(
        scrub(text, _LONGEST),
        _COLUMNS,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
    )
