"""An agent's own templates: what is said around the prompts, and around the answers, of models that want it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from oarlock.agents.inputs import fill
from oarlock.agents.prompts import TODAY
from oarlock.contract.checks import flag
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.messages import Message

if TYPE_CHECKING:
    from oarlock.agents.agent import Agent

__all__ = ["PLAIN", "Prompts", "check_templates", "prompts_of", "today"]

_PLACES: Final = {
    "system_template": re.compile(r"\{\{\s*\.System\s*\}\}"),
    "prompt_template": re.compile(r"\{\{\s*\.Prompt\s*\}\}"),
    "response_template": re.compile(r"\{\{\s*\.Response\s*\}\}"),
}
_WORDS: Final = {
    "system_template": "{{ .System }}",
    "prompt_template": "{{ .Prompt }}",
    "response_template": "{{ .Response }}",
}


@dataclass(frozen=True, slots=True)
class Prompts:
    """What stands around an agent's prompts and answers.

    Attributes:
        before_system: text before the system prompt.
        after_system: text after it, and after all that is added to it.
        before_task: text before the task.
        after_task: text after it; the beginning of the answer is part of it.
        stop: where the answer ends.
        in_one: system prompt and task are one message, of the user.
    """

    before_system: str = ""
    after_system: str = ""
    before_task: str = ""
    after_task: str = ""
    stop: str = ""
    in_one: bool = False

    def messages(self, system: str, task: str) -> list[Message]:
        """Return the messages that a conversation begins with."""
        system = f"{self.before_system}{system}{self.after_system}"
        task = f"{self.before_task}{task}{self.after_task}"
        if self.in_one:
            return [{"role": "user", "content": f"{system}\n\n{task}"}]
        return [{"role": "system", "content": system}, {"role": "user", "content": task}]


PLAIN: Final = Prompts()


def prompts_of(owner: str, agent: Agent, inputs: Mapping[str, Any]) -> Prompts:
    """Return what stands around an agent's prompts, with names filled in; role, goal and backstory are among them.

    Raises:
        ConfigurationError: an input is missing.
    """
    if agent.use_system_prompt and not (agent.system_template or agent.prompt_template or agent.response_template):
        return PLAIN
    known = {"role": agent.role, "goal": agent.goal, "backstory": agent.backstory}
    given = {**{name: fill(text, inputs, f"{owner}: {name}") for name, text in known.items()}, **inputs}

    def around(name: str) -> tuple[str, str]:
        template = getattr(agent, name)
        if template is None:
            return "", ""
        before, after = _PLACES[name].split(template)  # first, so that nothing filled in may pass for the place
        return fill(before, given, f"{owner}: {name}"), fill(after, given, f"{owner}: {name}")

    before_system, after_system = around("system_template")
    before_task, after_task = around("prompt_template")
    before_answer, after_answer = around("response_template")
    return Prompts(
        before_system=before_system,
        after_system=after_system,
        before_task=before_task,
        after_task=after_task + before_answer,
        stop=after_answer.strip(),
        in_one=not agent.use_system_prompt,
    )


def check_templates(owner: str, agent: Agent) -> None:
    """Raise a ConfigurationError unless an agent's templates, and its form of dates, can work."""
    for name, place in _PLACES.items():
        template = getattr(agent, name)
        if template is None:
            continue
        if not isinstance(template, str) or len(place.findall(template)) != 1:
            raise ConfigurationError(
                f"{owner}: {name} must be a text with {_WORDS[name]} in it once, where that is to stand, not {template!r}."
            )
    flag(owner, "use_system_prompt", agent.use_system_prompt)
    flag(owner, "inject_date", agent.inject_date)
    if not isinstance(agent.date_format, str) or not re.search(r"%[a-zA-Z]", agent.date_format):
        raise ConfigurationError(
            f"{owner}: date_format must be a form for dates such as '%Y-%m-%d' (see strftime), not {agent.date_format!r}."
        )


def today(form: str, moment: float) -> str:
    """Return what the system prompt says of the date, at a moment in seconds since the epoch, in local time."""
    import time  # only for those who ask for it

    return TODAY.format(date=time.strftime(form, time.localtime(moment)))
