"""All checks in the order in which they run, one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from oarlock.testing.contract import answers, colours, crews, crowds, failures, objects, secrets, stops, tools
from oarlock.testing.contract.subject import Scene

__all__ = ["CHECKS", "Check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One idea about an LLM, and how to find out.

    Attributes:
        name: short, for `skip=` and pytest.
        says: what it finds out, in a sentence.
        run: raises if it is not so.
        after: checks without which this one shows nothing.
    """

    name: str
    says: str
    run: Callable[[Scene], None]
    after: tuple[str, ...]


def _check(run: Callable[[Scene], None], after: Sequence[str] = ("answers_text",)) -> Check:
    return Check(name=run.__name__, says=run.__doc__ or "", run=run, after=tuple(after))


_TABLE = (
    _check(objects.fresh_objects, after=[]),
    _check(objects.describes_itself, after=["fresh_objects"]),
    _check(objects.needs_only_messages, after=["fresh_objects"]),
    _check(answers.answers_text, after=["needs_only_messages"]),
    _check(answers.answers_messages),
    _check(answers.answers_tool_messages, after=["answers_messages"]),
    _check(answers.answers_blank_message),
    _check(answers.messages_untouched, after=["answers_messages"]),
    _check(answers.unicode),
    _check(answers.long_message),
    _check(answers.usage),
    _check(objects.copies),
    _check(colours.both_colours),
    _check(colours.streams),
    _check(colours.inside_event_loop),
    _check(colours.loop_stays_free, after=["both_colours"]),
    _check(crowds.many_threads),
    _check(crowds.many_tasks, after=["both_colours"]),
    _check(crowds.answers_not_mixed_up, after=["many_threads", "many_tasks"]),
    _check(tools.tool_calls),
    _check(tools.ends_with_unknown_function, after=["tool_calls"]),
    _check(tools.tools_ignored),
    _check(stops.own_stop_words, after=["answers_text", "describes_itself"]),
    _check(stops.stop_words_of_the_run, after=["own_stop_words"]),
    *(Check(name=one.name, says=one.says, run=one.check, after=("answers_text",)) for one in failures.FAILURES),
    _check(failures.connection_refused),
    _check(failures.too_many_requests),
    _check(failures.retry_helps, after=["both_colours"]),
    _check(failures.one_retry_loop, after=["retry_helps"]),
    _check(failures.deadline_ends_it, after=["both_colours"]),
    _check(secrets.no_secret_in_repr, after=["fresh_objects"]),
    _check(secrets.no_secret_in_state, after=["fresh_objects"]),
    _check(secrets.no_secret_in_logs),
    _check(secrets.no_secret_in_errors),
    _check(crews.works_in_a_crew, after=["answers_messages", "describes_itself"]),
    _check(crews.uses_tools_in_a_crew, after=["works_in_a_crew", "answers_tool_messages", "tool_calls"]),
)

CHECKS: Mapping[str, Check] = MappingProxyType({check.name: check for check in _TABLE})
