"""Answers with a structure: how one is asked for, found in what the model wrote, and checked."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from oarlock.agents.prompts import REPAIR, SCHEMA
from oarlock.contract.context import tell
from oarlock.contract.errors import ConfigurationError, OutputError, times
from oarlock.contract.events import AnswerRejected
from oarlock.contract.records import dataclass
from oarlock.contract.secret import scrub
from oarlock.tools.problems import problems_of
from oarlock.tools.schema import without_titles

if TYPE_CHECKING:
    from pydantic import BaseModel

    from oarlock.agents.work import Work

__all__ = ["END_OF_THOUGHTS", "Structure", "end_of_value", "find", "strict", "structure_of"]

_log = logging.getLogger("oarlock.agents")
_MOST_VALUES: Final = (
    100  # JSON values looked at in one answer: more are no answer, and each costs a reading of the rest
)
_FENCE: Final = re.compile(r"```[ \t]*\w*[ \t]*\n(.*?)```", re.DOTALL)
_START: Final = re.compile(r"[{\[]")
_LIKE_JSON: Final = re.compile(r'\{\s*(?:"|\})|\[\s*[\[{"\]]')
END_OF_THOUGHTS: Final = "</think>"  # of DeepSeek-R1, Qwen and others, where the endpoint leaves thoughts in the text
_MOST_PROBLEMS: Final = 1000  # characters of the errors that a model is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The structure that a task's answer is to have.

    Attributes:
        model: the pydantic model of it.
        schema: its JSON schema, as the model is shown it.
        as_json: whether the answer is given back as JSON values, not as an object of the model.
        repairs: how many times the language model may mend an answer.
    """

    model: type[BaseModel]
    schema: dict[str, Any]
    as_json: bool = False
    repairs: int = 2

    @property
    def instruction(self) -> str:
        """What a prompt says of it."""
        return SCHEMA.format(schema=json.dumps(self.schema, ensure_ascii=False))

    def read(self, answer: str) -> Read:
        """Return the object in an answer, and the text of its JSON alone.

        Where several JSON values fit, the last one counts: drafts and thoughts come before.

        Raises:
            OutputError: there is none that fits.
        """
        problem = ""
        for text in reversed(list(find(answer))):
            try:
                return Read(text, self.model.model_validate_json(text))
            except Exception as error:  # noqa: BLE001  validators are the user's own code, and raise anything
                problem = problem or _problem(error)
        raise OutputError(problem or "there is no JSON in it", text=answer)

    async def settle(self, work: Work, answer: str) -> Read:
        """Return the object in an answer; the model is asked to mend one that does not fit.

        Raises:
            OutputError: no answer fits, with the last one's text and what was wrong with each.
        """
        errors: list[str] = []
        while True:
            try:
                return self.read(answer)
            except OutputError as error:
                errors.append(str(error))
            if len(errors) > self.repairs:
                break
            _log.info(
                "Agent %r is to mend an answer that does not fit %s: %s", work.role, self.model.__name__, errors[-1]
            )
            tell(AnswerRejected, by="structure", reason=errors[-1])
            work.messages.append({"role": "assistant", "content": answer})
            work.say(REPAIR.format(problems=errors[-1]))
            answer = (await work.ask()).text
        raise OutputError(
            f"Agent {work.role!r} gave no answer that fits {self.model.__name__}, asked {times(len(errors))}: "
            f"{scrub(errors[-1])}. The error has the last answer as .text and all that was wrong as .errors.",
            text=answer,
            errors=errors,
        )


@dataclass(frozen=True, slots=True)
class Read:
    """The JSON of an answer, and what it is."""

    text: str
    value: Any


def structure_of(owner: str, output_pydantic: object, output_json: object, repairs: int) -> Structure | None:
    """Return the structure that a task asks for, if it asks for one.

    Raises:
        ConfigurationError: it asks for two, for something that is no pydantic model, or for one without a JSON schema.
    """
    if output_pydantic is not None and output_json is not None:
        raise ConfigurationError(f"{owner}: give output_pydantic or output_json, not both.")
    name, model = ("output_json", output_json) if output_pydantic is None else ("output_pydantic", output_pydantic)
    if model is None:
        return None
    return Structure(
        model=(checked := _checked(owner, name, model)),
        schema=_schema(owner, name, checked),
        as_json=name == "output_json",
        repairs=repairs,
    )


def _checked(owner: str, name: str, model: object) -> type[BaseModel]:
    if not (isinstance(model, type) and hasattr(model, "model_validate_json") and hasattr(model, "model_json_schema")):
        shown = repr(model) if isinstance(model, type) else f"of the type {type(model).__name__}"
        raise ConfigurationError(f"{owner}: {name} must be a class derived from pydantic.BaseModel, and is {shown}.")
    return model


def _schema(owner: str, name: str, model: type[BaseModel]) -> dict[str, Any]:
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  pydantic's own declaration

    try:
        schema: dict[str, Any] = without_titles(model.model_json_schema(schema_generator=Quiet))
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        raise ConfigurationError(
            f"{owner}: {name}: {model.__name__} has no JSON schema: {scrub(str(error))}. Use types that JSON has."
        ) from error
    return schema


def find(answer: str) -> Iterator[str]:
    """Yield the JSON values in an answer, as text: all of it, or what stands in code fences, or between other words.

    Of an answer with a broken value there is only that, as it is, so that checking it says what is wrong: neither a draft
    before it nor a part of it may pass for the answer.

    Example:
        >>> list(find('Sure! {"a": 1} Anything else?'))
        ['{"a": 1}']
        >>> list(find("```json\\n[1, 2]\\n```"))
        ['[1, 2]']
    """
    whole = answer.rpartition(END_OF_THOUGHTS)[2].strip()
    if end_of_value(whole, 0) == len(whole):
        yield whole
        return
    fenced = [text for text in map(str.strip, _FENCE.findall(whole)) if text and end_of_value(text, 0) == len(text)]
    yield from fenced[-_MOST_VALUES:] or _between_words(whole)


def _between_words(text: str) -> list[str]:
    found: list[str] = []
    at = 0
    for _ in range(_MOST_VALUES):
        start = _START.search(text, at)
        if start is None:
            break
        end = end_of_value(text, start.start())
        if end is not None:
            found.append(text[start.start() : end])
        elif _LIKE_JSON.match(text, start.start()):
            return [text[start.start() :]]
        at = end or start.end()
    return found


def end_of_value(text: str, start: int) -> int | None:
    """Return where the JSON value that begins here ends, `None` if it is none."""
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


_DECODER: Final = json.JSONDecoder()


def _problem(error: Exception) -> str:
    """Return what is wrong with an answer, in words that a model can act on."""
    problems = problems_of(error)
    details = getattr(error, "errors", None)
    for one in details() if callable(details) else ():
        if one["type"] == "extra_forbidden" and len(one["loc"]) == 1:  # the one kind that `problems_of` leaves out
            problems.append(f"{scrub(str(one['loc'][0]), 100)!r} is not in the schema")
    return scrub("; ".join(problems) or str(error) or type(error).__name__, _MOST_PROBLEMS)


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in the form that strict schema modes want: every property required, no others allowed.

    A model then writes out what has a default, too; descriptions of fields that are models are left to the prompt. Source:
    OpenAI's guide to structured outputs, "Supported schemas".

    Example:
        >>> strict({"type": "object", "properties": {"a": {"type": "integer", "default": 1}}})
        {'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'required': ['a'], 'additionalProperties': False}
    """
    made: dict[str, Any] = _strict(schema)
    return made


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            made[key] = {name: _strict(part) for name, part in value.items()}
        elif key in ("enum", "const", "examples"):
            made[key] = value
        elif key not in ("default", "discriminator"):
            made["anyOf" if key == "oneOf" else key] = _strict(value)
    if "$ref" in made:
        return {"$ref": made["$ref"], **({"$defs": made["$defs"]} if "$defs" in made else {})}
    if "properties" in made:
        made["required"] = list(made["properties"])
        made.setdefault("additionalProperties", False)
    return made
