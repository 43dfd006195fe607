"""Structured answers while they come: right for every split, and never more than what has come."""

from __future__ import annotations

import datetime as dt
import json
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, RootModel, field_validator

from oarlock import Agent, Crew, Task, tool
from oarlock.agents.partial import PartialReader
from oarlock.contract.errors import ServerError
from oarlock.events import CallStarted, ModelDelta, PartialOutput, TaskFinished
from oarlock.policies import Retry
from oarlock.testing import ScriptedLLM


class Wood(StrEnum):
    ash = "ash"
    spruce = "spruce"


class Oar(BaseModel):
    wood: Wood
    length: float
    marks: list[str] = Field(default_factory=list)


class Boat(BaseModel):
    name: str
    seats: int
    built: dt.date | None = None
    state: Literal["dry", "wet"] = "dry"
    oars: list[Oar]
    cox: Oar | None = None
    tags: dict[str, int] = Field(default_factory=dict)
    remark: Annotated[str, Field(min_length=3)] = "none"


oars = st.builds(Oar, wood=st.sampled_from(Wood), length=st.floats(0, 9), marks=st.lists(st.text(), max_size=3))
boats = st.builds(
    Boat,
    name=st.text(),
    seats=st.integers(),
    built=st.none() | st.dates(),
    state=st.sampled_from(["dry", "wet"]),
    oars=st.lists(oars, max_size=3),
    cox=st.none() | oars,
    tags=st.dictionaries(st.text(), st.integers(), max_size=3),
    remark=st.text(min_size=3),
)
AROUND = [
    ("", ""),
    ("Sure, here it is [1]:\n```json\n", "\n```\nAnything {else}?"),
    ("<think>{x}</think>", ""),
    ("{} ", ""),
]


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


def within(part: Any, whole: Any) -> bool:
    """Return whether a part may be what has come so far of the whole."""
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    if isinstance(part, list):
        pairs = zip(part, whole, strict=False)
        return len(part) <= len(whole) and all(within(one, other) for one, other in pairs)
    if isinstance(part, dict):
        return part.keys() <= whole.keys() and all(within(part[key], whole[key]) for key in part)
    return bool(part == whole)


def grown(before: Any, after: Any) -> bool:
    """Return whether what was there is still there."""
    return within(before, after)


@settings(max_examples=60, deadline=None)
@example(
    boat=Boat(name="", seats=0, built=dt.date(999, 1, 1), oars=[]), cuts=list(range(99)), around=("", ""), indent=None
)
@given(
    boat=boats,
    cuts=st.lists(st.integers(0, 10_000), max_size=30),
    around=st.sampled_from(AROUND),
    indent=st.none() | st.just(1),
)
def test_any_split(boat: Boat, cuts: list[int], around: tuple[str, str], indent: int | None) -> None:
    begin, end = around
    answer = f"{begin}{boat.model_dump_json(indent=indent)}{end}"
    objects, dictionaries = PartialReader(Boat), PartialReader(Boat, as_json=True)
    whole = boat.model_dump(mode="json")
    before: Any = {}
    last = None
    for piece in pieces_of(answer, cuts):
        made, plain = objects.feed(piece), dictionaries.feed(piece)
        assert (made is None) == (plain is None)
        if made is None:
            continue
        assert isinstance(made, Boat)
        json.dumps(plain)
        if begin != "{} " or plain:
            assert within(plain, whole)
            assert grown(before, plain)
            before, last = plain, made
        for name in Boat.model_fields.keys() - made.model_fields_set:
            default = Boat.model_fields[name].get_default(call_default_factory=True)
            assert getattr(made, name) == (None if Boat.model_fields[name].is_required() else default)
    # The last reading may be a fiftieth short of the end; fed to the end, nothing is.
    if len(answer) < 50 or not cuts:
        assert last == boat


def test_character_by_character() -> None:
    boat = Boat(name="Argo", seats=12, oars=[Oar(wood=Wood.ash, length=3.5, marks=["a"])], built="2026-01-02")
    reader = PartialReader(Boat)
    seen = [made for character in boat.model_dump_json(exclude_unset=True) if (made := reader.feed(character))]
    assert [one.name for one in seen[:6]] == [None, "", "A", "Ar", "Arg", "Argo"]
    assert next(one.seats for one in seen if one.seats is not None) == 12  # never 1
    woods = [one.oars[0].wood for one in seen if one.oars]
    assert set(woods) == {None, Wood.ash}
    assert {one.built for one in seen} == {None, dt.date(2026, 1, 2)}
    assert seen[-1] == boat
    assert seen[3].model_fields_set == {"name"}


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("No JSON at all.", []),
        ("See {this} and [that]", []),
        ('{"name": }', []),
        ('{"name": {"not": "a text"}, "seats": 2', [{}]),
        ('{"name": "draft"} Better: {"name": "fin', [{"name": "fin"}]),
        ('<think>{"name": "thought"}', []),
        ('{"seats": 4', [{}]),
        ('{"seats": 4,', [{"seats": 4}]),
        ('{"seats": "many", "name": "x"', [{"name": "x"}]),
        ('{"other": 1, "name": "x"', [{"name": "x"}]),
    ],
)
def test_odd_answers(answer: str, values: list[Any]) -> None:
    reader = PartialReader(Boat, as_json=True)
    made = reader.feed(answer)
    assert ([] if made is None else [made]) == values


class Odd(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    first: Annotated[str, Field(alias="First-Name")]
    born: Annotated[dt.date | None, Field(validation_alias=AliasChoices("Born", "born"))] = None
    score: int = 0

    @field_validator("first")
    @classmethod
    def no_short_names(cls, value: str) -> str:
        if len(value) < 3:
            raise RuntimeError("of the user's own")
        return value


def test_aliases_strict_and_frozen_models_and_validators_that_raise() -> None:
    reader = PartialReader(Odd)
    text = '{"First-Name": "Ada L", "Born": "1815-12-10"}'
    seen = [made for character in text if (made := reader.feed(character)) is not None]
    assert [one.first for one in seen[1:4]] == ["", "A", "Ad"]
    assert {one.born for one in seen} == {None, dt.date(1815, 12, 10)}
    assert seen[-1] == Odd.model_validate_json(text)


class Fragile(BaseModel):
    name: str
    last: str

    def model_post_init(self, context: Any) -> None:
        self.name.upper()
        self.last.upper()


def test_models_that_cannot_be_partial_are_given_when_they_are_whole() -> None:
    reader = PartialReader(Fragile)
    seen = [made for character in '{"name": "a", "last": "b"}' if (made := reader.feed(character)) is not None]
    assert [(one.name, one.last) for one in seen] == [("a", ""), ("a", "b")]


class Names(RootModel[list[str]]):
    pass


class Fleet(RootModel[list[Oar]]):
    pass


def test_lists_as_a_whole() -> None:
    reader = PartialReader(Names)
    seen = [made.root for character in 'So: ["a", "bc"]' if (made := reader.feed(character)) is not None]
    assert seen == [[], [""], ["a"], ["a", ""], ["a", "b"], ["a", "bc"]]
    fleet = PartialReader(Fleet).feed('[{"wood": "ash", "length": 1.5}, {"wood": "spr')
    assert [(one.wood, one.length) for one in fleet.root] == [("ash", 1.5), (None, None)]


def test_a_long_answer_is_not_read_again_for_every_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, readings = PartialReader(Names), 0
    value = reader._value

    def counted() -> Any:
        nonlocal readings
        readings += 1
        return value()

    monkeypatch.setattr(reader, "_value", counted)
    reader.feed("[")
    for _ in range(100_000):
        reader.feed('"a", ')
    assert readings < 1_000


# In a run.


def crew_of(llm: Any, **given: Any) -> Crew:
    clerk = Agent(role="Clerk", goal="g", backstory="b", llm=llm, tools=given.pop("tools", []))
    return Crew(tasks=[Task(description="x", agent=clerk, **given)])


OAR = '{"wood": "ash", "length": 3.5, "marks": ["red one"]}'


def partials(crew: Crew) -> tuple[list[Any], Any]:
    stream = crew.stream()
    seen = [event for event in stream if isinstance(event, PartialOutput)]
    return seen, stream.result


def test_events_carry_objects() -> None:
    seen, result = partials(crew_of(ScriptedLLM([OAR]), output_pydantic=Oar))
    assert [(one.value.wood, one.value.length, one.value.marks) for one in seen] == [
        (None, None, []),
        ("ash", None, []),
        ("ash", 3.5, []),
        ("ash", 3.5, ["red "]),
        ("ash", 3.5, ["red one"]),
    ]
    assert seen[-1].value == result.pydantic
    ended = [
        event.value
        for event in crew_of(ScriptedLLM([OAR]), output_pydantic=Oar).stream()
        if isinstance(event, TaskFinished)
    ]
    assert ended == [result.pydantic]


def test_or_dictionaries() -> None:
    seen, result = partials(crew_of(ScriptedLLM([OAR]), output_json=Oar))
    assert [one.value for one in seen][1] == {"wood": "ash"}
    assert seen[-1].value == result.json_dict
    ended = [
        event.value
        for event in crew_of(ScriptedLLM([OAR]), output_json=Oar).stream()
        if isinstance(event, TaskFinished)
    ]
    assert ended == [result.json_dict]


def test_each_answer_begins_anew() -> None:
    llm = ScriptedLLM(['{"wood": "oak", "length": 1}', OAR])
    crew = crew_of(llm, output_pydantic=Oar)
    stream = crew.stream()
    by_call: dict[Any, list[Any]] = {}
    for event in stream:
        if isinstance(event, CallStarted):
            by_call[event.span_id] = []
        elif isinstance(event, PartialOutput):
            by_call[event.span_id].append(event.value.length)
    assert [lengths[-1] for lengths in by_call.values()] == [1, 3.5]


def test_after_a_failure_too() -> None:
    from oarlock.contract.reply import Delta, Reply

    class Broken(ScriptedLLM):
        async def _respond(self, runtime: Any, request: Any) -> Reply:
            await request.deltas.put(Delta('{"wood": "spr'))
            if request.attempt == 1:
                raise ServerError("down")
            await request.deltas.put(Delta('uce", "length": 2}'))
            return Reply(text='{"wood": "spruce", "length": 2}')

    seen, _ = partials(crew_of(Broken([]).with_policies(Retry(base_delay=0)), output_pydantic=Oar))
    assert [(one.attempt, one.value.length) for one in seen] == [(1, None), (2, None), (2, 2)]


def test_a_judges_verdict_is_no_answer_and_neither_are_actions() -> None:
    @tool
    def weigh(wood: str, length: float) -> str:
        """Weigh."""
        return "2 kg"

    llm = ScriptedLLM(
        [
            'Action: weigh\nAction Input: {"wood": "ash", "length": 9}',
            f"Thought: ok\nFinal Answer: {OAR}",
            '{"valid": true, "reason": "good"}',
        ]
    )
    seen, _ = partials(crew_of(llm, output_pydantic=Oar, guardrail="Long", tools=[weigh]))
    assert {one.value.length for one in seen} == {None, 3.5}


def test_without_a_structure_there_is_nothing_partial() -> None:
    events = list(crew_of(ScriptedLLM([OAR])).stream())
    assert not any(isinstance(event, PartialOutput) for event in events)
    assert any(isinstance(event, ModelDelta) for event in events)
