"""What is kept of a run: JSON of known shapes, each thing once, no secret, and nothing that is believed unread."""

from __future__ import annotations

import contextlib
import copy
import json
import sqlite3
from typing import Any

import pytest
from durable_helpers import CountingLLM, Crash, calls, in_line
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from oarlock import Agent, Crew, CrewOutput, Reply, Task, TaskOutput, Usage, tool
from oarlock.contract.errors import AuthenticationError, GuardrailError, OarlockError, RunError
from oarlock.durable.codec import from_json, to_json
from oarlock.durable.dbos_serializer import JsonSerializer
from oarlock.durable.failures import error_from_json, error_to_json
from oarlock.durable.log import RunLog
from oarlock.durable.port import Entry
from oarlock.durable.spec import Spec
from oarlock.tools import ToolAnswer


def rows(database: str) -> dict[str, list[tuple[Any, ...]]]:
    connection = sqlite3.connect(database.removeprefix("sqlite:///"))
    try:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return {name: connection.execute(f"select * from {name}").fetchall() for name in names}
    finally:
        connection.close()


def steps(database: str, run_id: str) -> list[str]:
    return [str(row) for row in rows(database)["operation_outputs"] if row[0] == run_id]


def test_each_message_is_kept_once(database, run_id):
    """What is kept grows with the conversation, not with its square."""
    said = [f"This is message number {number:04d}, {'x' * 200}" for number in range(80)]

    @tool(idempotent=True, in_place=True)
    def note(text: str) -> str:
        """Note something."""
        return "noted"

    def answer(request: Any, before: int) -> Any:
        return calls(("note", json.dumps({"text": said[before]}))) if before < 79 else said[before]

    agent = Agent(role="Cox", goal="Talk", backstory="", llm=CountingLLM(answer), tools=[note], max_iter=100)
    Crew(agents=[agent], tasks=[Task(description="Talk", agent=agent)]).kickoff(durable=database, run_id=run_id)
    kept = steps(database, run_id)
    assert len(kept) == 159
    assert all(sum(text in step for step in kept) == 1 for text in said)
    assert sum(map(len, kept)) < 160 * 700


def test_nothing_is_pickled(database, run_id):
    in_line(CountingLLM(lambda request, before: "hello"), 1).kickoff(durable=database, run_id=run_id)
    for row in rows(database)["operation_outputs"]:
        json.loads(row[3])
        assert "oarlock_json" in row


def test_what_the_provider_said_beside_its_answer_is_not_kept():
    kept = to_json(Reply(text="Hi", raw={"secret": 1}, value=object(), usage=Usage(requests=1)), "it")
    assert kept == {"$": "Reply", "text": "Hi", "usage": {"requests": 1}}
    assert from_json(kept, {}) == Reply(text="Hi", usage=Usage(requests=1))


class Boat(BaseModel):
    name: str


OUTPUT = TaskOutput(
    raw='{"name": "Ada"}', description="d", agent="Cox", pydantic=Boat(name="Ada"), usage=Usage(requests=2)
)
KEPT = [
    None,
    "text",
    {"a": [1, 2.5, True, None]},
    Reply(text="Hi", tool_calls=calls(("look", "{}")).tool_calls, finish_reason="stop"),
    ToolAnswer(text="3", tool="add"),
    OUTPUT,
    CrewOutput(
        raw="x",
        tasks_output=(OUTPUT,),
        pydantic=Boat(name="Ada"),
        usage_by_agent={"Cox": Usage(requests=2)},
        run_id="r",
    ),
    [True, OUTPUT],
    Boat(name="Ada"),
]


@pytest.mark.parametrize("value", KEPT, ids=lambda value: type(value).__name__)
def test_what_is_kept_comes_back(value):
    text = json.dumps(to_json(value, "it"))
    assert from_json(json.loads(text), {"Boat": Boat}) == value


def test_a_model_that_is_not_there_any_more():
    kept = to_json(Boat(name="Ada"), "it")
    with pytest.raises(RunError, match="No task of this crew answers with a 'Boat'"):
        from_json(kept, {})
    assert from_json(kept, {}, strict=False) == {"name": "Ada"}

    class Other(BaseModel):
        seats: int

    with pytest.raises(RunError, match="does not fit the model"):
        from_json(kept, {"Boat": Other})


@pytest.mark.parametrize("value", [object(), {1: 2}, {"$": "Reply"}, float("inf"), Boat, {1, 2}, b"x", Usage])
def test_other_objects_are_not_kept(value):
    with pytest.raises(RunError):
        to_json([value], "it")


def test_a_model_that_has_no_json():
    class Odd(BaseModel, arbitrary_types_allowed=True):
        thing: object

    with pytest.raises(RunError, match="cannot be kept"):
        to_json(Odd(thing=object()), "it")


WHOLE = [to_json(value, "it") for value in KEPT]


def mutate(value: Any, data: st.DataObject) -> Any:
    """Change something somewhere in a JSON value."""
    odd = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=8),
        st.lists(st.integers(), max_size=2),
        st.dictionaries(st.text(max_size=4), st.text(max_size=3), max_size=2),
        st.sampled_from(["Reply", "TaskOutput", "model", "CrewOutput", "Usage", "object", "os.system"]),
    )
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value)))
        changed = copy.copy(value)
        if data.draw(st.booleans()):
            changed[key] = mutate(value[key], data)
        elif data.draw(st.booleans()):
            del changed[key]
        else:
            changed[data.draw(st.sampled_from(["$", "text", "raw", "value", "pydantic", "name", "new"]))] = data.draw(
                odd
            )
        return changed
    if isinstance(value, list) and value and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], mutate(value[place], data), *value[place + 1 :]]
    return data.draw(odd)


@settings(max_examples=200)
@given(data=st.data())
def test_changed_state_gives_only_our_errors(engine_off, data):
    value = mutate(data.draw(st.sampled_from(WHOLE)), data)
    for read in (
        lambda: from_json(value, {"Boat": Boat}),
        lambda: from_json(value, {}, strict=False),
        lambda: Spec.from_json(value, value if isinstance(value, dict) else {}),
        lambda: RunLog([Entry(position=1, name="model:1:1", value=value), Entry(position=2, name="again:x")]),
    ):
        with contextlib.suppress(OarlockError):
            read()
    assert isinstance(error_from_json(value), Exception)
    assert isinstance(error_from_json({"type": value, "message": value, "notes": value}), Exception)


def test_errors_come_back_as_ours():
    error = GuardrailError("It failed", text="the answer", reasons=["too long", "too short"])
    error.add_note("This happened while agent 'Cox' worked.")
    back = error_from_json(json.loads(json.dumps(error_to_json(error))))
    assert isinstance(back, GuardrailError)
    assert (str(back), back.text, back.reasons) == ("It failed", "the answer", ("too long", "too short"))
    assert back.__notes__ == ["This happened while agent 'Cox' worked."]


def test_facts_of_a_model_error_come_back():
    error = AuthenticationError(
        "No", status=401, code="bad", request_id="q", attempts=2, elapsed=1.5, retry_after=3.0, retryable=True
    )
    assert vars(error_from_json(error_to_json(error))) == vars(error)


def test_an_error_that_cannot_say_what_it_is():
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert error_to_json(Odd()) == {"type": "Odd", "message": ""}
    assert str(error_from_json(error_to_json(Odd()))) == "Odd: "
    assert isinstance(error_from_json({"type": "UnicodeDecodeError", "message": "x"}), RunError)


def test_a_subclass_of_ours_comes_back_as_ours():
    class Special(AuthenticationError):
        pass

    assert type(error_from_json(error_to_json(Special("no")))) is AuthenticationError


def test_the_serializer_takes_errors_and_values():
    serializer = JsonSerializer()
    assert serializer.deserialize(serializer.serialize({"a": (1, "\ud800\x00")})) == {"a": [1, "\ud800\x00"]}
    assert repr(serializer.deserialize(serializer.serialize(KeyError("x")))) == repr(KeyError("'x'"))
    with pytest.raises(TypeError):
        serializer.serialize(object())


def test_a_database_that_somebody_wrote_into_is_an_error_of_ours(database, run_id):
    dead: list[int] = []

    def answer(request: Any, before: int) -> str:
        if before == 1:
            dead.append(1)
            raise Crash
        return "hello"

    llm = CountingLLM(answer)
    with pytest.raises(Crash):
        in_line(llm, 2).kickoff(durable=database, run_id=run_id)
    connection = sqlite3.connect(database.removeprefix("sqlite:///"))
    with connection:
        connection.execute("update operation_outputs set output = '[1]' where workflow_uuid = ?", (run_id,))
    connection.close()
    with pytest.raises(RunError, match="not as this version records steps"):
        in_line(llm, 2).kickoff(durable=database, run_id=run_id)
    assert len(llm.keys) == 2
