"""From what an agent answered to a task's output: its structure, its guardrails, a human's word, its file."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from oarlock.agents.files import Place, place_of, write
from oarlock.agents.guardrails import Guardrail, judge, name_of
from oarlock.agents.human import Asker, ask, asker_of
from oarlock.agents.outputs import TaskOutput
from oarlock.agents.prompts import MARKDOWN, REJECTED
from oarlock.agents.structured import Read, Structure, strict
from oarlock.agents.work import notify
from oarlock.contract.context import tell
from oarlock.contract.errors import GuardrailError, OutputError, StepsExhaustedError, times
from oarlock.contract.events import AnswerRejected, GuardrailChecked
from oarlock.contract.records import dataclass
from oarlock.contract.secret import scrub

if TYPE_CHECKING:
    from oarlock.agents.task import Task
    from oarlock.agents.work import Work

__all__ = ["Finish", "finish_of"]

_log = logging.getLogger("oarlock.agents")
_MOST_ROUNDS: Final = 25  # with a human, who may be a program behind a hook

Again = Callable[["Work"], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What becomes of an agent's answer in one run.

    Attributes:
        owner: the task in words.
        structure: what the answer must look like.
        markdown: whether it is to be Markdown.
        guardrails: what it must pass.
        retries: how many times the agent may try again after failing them.
        asker: whom to ask at last.
        place: where to write it.
    """

    owner: str
    structure: Structure | None = None
    markdown: bool = False
    guardrails: tuple[Guardrail, ...] = ()
    retries: int = 3
    asker: Asker | None = None
    place: Place | None = None

    def prepare(self, work: Work) -> None:
        """Tell the model what is asked of its answer."""
        wanted = MARKDOWN if self.markdown else ""
        if self.structure is not None:
            # In the prompt in any case: few endpoints show the model the schema that they bind its answer to.
            wanted += self.structure.instruction
            work.structure = self.structure
            if work.llm.supports_json_schema():
                work.json_schema = strict(self.structure.schema)
        work.add_to_task(wanted)

    async def output(self, work: Work, output: TaskOutput, again: Again) -> TaskOutput:
        """Return the output that counts; `again` lets the agent have another try.

        Raises:
            GuardrailError: the answer failed its guardrails too often.
            OutputError: it has not the right structure, or cannot be written.
            StepsExhaustedError: the human was never content.
        """
        reasons: list[str] = []
        rounds, turns = 0, work.max_iter
        while True:
            output, reason = await self._checked(work, await self._structured(work, output))
            if reason is None:
                reason = (
                    await ask(work.runtime, f"{work.key}:{work.calls}:human", self.asker, output)
                    if self.asker
                    else None
                )
                if not reason:
                    break
                rounds += 1
                self._refuse_endless(rounds)
                by = "human"
            else:
                by = "guardrail"
                reasons.append(reason)
                self._refuse_hopeless(output, reasons)
            _log.info("%s: the answer was sent back: %s", self.owner, scrub(reason))
            tell(AnswerRejected, by=by, reason=reason)
            work.messages.append({"role": "assistant", "content": output.raw})
            work.say(REJECTED.format(reason=reason))
            work.max_iter = work.calls + turns  # each try has as many turns as the first
            output = dataclasses.replace(output, raw=await again(work), pydantic=None, json_dict=None)
        if self.place is not None:
            await notify(work.runtime, f"{work.key}:file", write, self.place, _as_file(output), work.runtime.new_id())
        return output

    async def _structured(self, work: Work, output: TaskOutput) -> TaskOutput:
        if self.structure is None:
            return output
        return self._with(output, await self.structure.settle(work, output.raw))

    def _with(self, output: TaskOutput, read: Read) -> TaskOutput:
        if self.structure is not None and self.structure.as_json:
            return dataclasses.replace(output, raw=read.text, json_dict=read.value.model_dump(mode="json"))
        return dataclasses.replace(output, raw=read.text, pydantic=read.value)

    async def _checked(self, work: Work, output: TaskOutput) -> tuple[TaskOutput, str | None]:
        """Return the output as the guardrails have left it, and why one refused it."""
        for number, guardrail in enumerate(self.guardrails):
            output = dataclasses.replace(output, usage=work.usage)
            verdict = await judge(work, guardrail, output, number)
            why = "" if verdict.passed else verdict.reason
            tell(GuardrailChecked, guardrail=name_of(guardrail), passed=verdict.passed, reason=why)
            if not verdict.passed:
                return output, verdict.reason
            output = self._replaced(output, verdict.value)
        return output, None

    def _replaced(self, output: TaskOutput, value: Any) -> TaskOutput:
        """Return the output that a guardrail gave in place of the one it was shown, if it gave one."""
        if isinstance(value, TaskOutput):
            return value
        if not isinstance(value, str) or value == output.raw:
            return output
        if self.structure is None:
            return dataclasses.replace(output, raw=value)
        try:
            return self._with(output, self.structure.read(value))
        except OutputError as error:
            raise OutputError(
                f"{self.owner}: what a guardrail put in place of the answer does not fit "
                f"{self.structure.model.__name__}: {scrub(str(error))}.",
                text=value,
                errors=(str(error),),
            ) from None

    def _refuse_hopeless(self, output: TaskOutput, reasons: list[str]) -> None:
        if len(reasons) > self.retries:
            listed = "; ".join(f"{number}. {scrub(reason)}" for number, reason in enumerate(reasons, 1))
            raise GuardrailError(
                f"{self.owner}: the answer failed its guardrail {times(len(reasons))}: {listed}. "
                "The error has the last answer as .text.",
                text=output.raw,
                reasons=reasons,
            )

    def _refuse_endless(self, rounds: int) -> None:
        if rounds > _MOST_ROUNDS:
            raise StepsExhaustedError(f"{self.owner}: the answer was sent back {rounds} times by human_input.")


def finish_of(task: Task, inputs: Mapping[str, Any], on_human_input: Asker | None) -> Finish:
    """Return what becomes of a task's answer.

    Raises:
        ConfigurationError: an input is missing, the file would be elsewhere, or there is no human to ask.
    """
    owner = f"Task {task.name!r}"
    return Finish(
        owner=owner,
        structure=task.structure,
        markdown=task.markdown,
        guardrails=task.all_guardrails,
        retries=task.guardrail_max_retries,
        asker=asker_of(owner, on_human_input) if task.human_input else None,
        place=place_of(owner, task.output_file, inputs, task.create_directory) if task.output_file else None,
    )


def _as_file(output: TaskOutput) -> str:
    """Return what is written: the text, or the structure, laid out to be read."""
    if output.pydantic is not None:
        return str(output.pydantic.model_dump_json(indent=2))
    if output.json_dict is not None:
        return json.dumps(output.json_dict, ensure_ascii=False, indent=2)
    return output.raw
