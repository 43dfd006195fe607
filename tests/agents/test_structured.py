"""Answers with a structure: `output_pydantic` and `output_json`."""

from __future__ import annotations

import asyncio
import enum
import json
import logging
import pickle
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from oarlock import Agent, BadRequestError, ChatLLM, ConfigurationError, Crew, OutputError, Task, ToolCall, tool
from oarlock.agents.structured import find, strict, structure_of
from oarlock.testing import LoopbackEndpoint, ScriptedLLM, Status


class City(BaseModel):
    name: str
    people: int = Field(default=0, ge=0, description="how many live there")


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str


class Picky(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def no_towns(cls, name: str) -> str:
        if name == "broken":
            raise RuntimeError("the validator itself is broken")
        if name == "Town":
            raise ValueError("Town is no city")
        return name


class Cities(RootModel[list[City]]):
    pass


class SchemaLLM(ScriptedLLM):
    """A scripted model that says that it keeps to schemas."""

    def supports_json_schema(self) -> bool:
        return True


@tool
def look_up(name: str) -> str:
    """Look a city up."""
    return f"{name} has 5 people."


GOOD = '{"name": "Oslo", "people": 5}'


def crew_of(llm: Any, *, tools: list[Any] | None = None, **task: Any) -> Crew:
    agent = Agent(role="Clerk", goal="Know cities", llm=llm, tools=tools or [])
    return Crew(agents=[agent], tasks=[Task(description="Which city?", agent=agent, **task)])


def run_blocking(crew: Crew) -> Any:
    return crew.kickoff()


def run_async(crew: Crew) -> Any:
    return asyncio.run(crew.akickoff())


@pytest.fixture(params=[run_blocking, run_async])
def run(request: pytest.FixtureRequest) -> Callable[[Crew], Any]:
    return request.param  # type: ignore[no-any-return]


# What comes back.


def test_an_object_of_the_model(run: Callable[[Crew], Any]) -> None:
    result = run(crew_of(ScriptedLLM([GOOD]), output_pydantic=City))
    assert result.pydantic == City(name="Oslo", people=5)
    assert result.tasks_output[0].pydantic is result.pydantic
    assert (result["name"], result["people"]) == ("Oslo", 5)
    assert result.to_dict() == result.tasks_output[0].to_dict() == {"name": "Oslo", "people": 5}
    assert result.raw == str(result) == GOOD
    assert result.json_dict is None


def test_json_values(run: Callable[[Crew], Any]) -> None:
    result = run(crew_of(ScriptedLLM(['{"name": "Oslo"}']), output_json=City))
    assert result.json_dict == result.to_dict() == {"name": "Oslo", "people": 0}
    assert json.loads(result.json) == json.loads(result.tasks_output[0].json) == {"name": "Oslo", "people": 0}
    assert result["name"] == "Oslo"
    assert result.pydantic is None


def test_what_is_not_there() -> None:
    plain = crew_of(ScriptedLLM(["Oslo"])).kickoff()
    assert (plain.pydantic, plain.json_dict, plain.to_dict()) == (None, None, {})
    with pytest.raises(KeyError, match="name"):
        plain["name"]
    with pytest.raises(ValueError, match="no output_json="):
        _ = plain.json
    with pytest.raises(KeyError, match="nme"):
        crew_of(ScriptedLLM([GOOD]), output_pydantic=City).kickoff()["nme"]


def test_a_list_of_objects() -> None:
    result = crew_of(ScriptedLLM([f"[{GOOD}]"]), output_json=Cities).kickoff()
    assert result.json_dict == [{"name": "Oslo", "people": 5}]
    assert result.to_dict() == {}
    assert crew_of(ScriptedLLM([f"[{GOOD}]"]), output_pydantic=Cities).kickoff().to_dict() == {}


def test_later_tasks_see_the_json_alone() -> None:
    llm = ScriptedLLM([f"Here you are:\n```json\n{GOOD}\n```\nAnything else?", "Done"])
    agent = Agent(role="Clerk", goal="Know cities", llm=llm)
    first = Task(description="Which city?", agent=agent, output_pydantic=City)
    Crew(agents=[agent], tasks=[first, Task(description="Sum up", agent=agent)]).kickoff()
    assert str(llm.requests[1].messages[-1]["content"]).endswith(GOOD)


def test_an_agent_alone_too() -> None:
    llm = ScriptedLLM([f"Well: {GOOD}"])
    assert Agent(role="R", goal="G", llm=llm).execute_task(Task(description="D", output_json=City)) == GOOD


def test_the_callback_gets_the_object() -> None:
    seen: list[Any] = []
    crew_of(ScriptedLLM([GOOD]), output_pydantic=City, callback=seen.append).kickoff()
    assert seen[0].pydantic == City(name="Oslo", people=5)


def test_one_prompt_too() -> None:
    agent = Agent(role="R", goal="G", llm=ScriptedLLM([GOOD, GOOD, "Oslo"]))
    assert agent.kickoff("Which city?", response_format=City).pydantic == City(name="Oslo", people=5)
    assert asyncio.run(agent.akickoff("Which city?", City)).pydantic == City(name="Oslo", people=5)
    assert agent.kickoff("Which city?").pydantic is None


def test_an_output_says_what_it_is() -> None:
    settings: list[dict[str, Any]] = [{}, {"output_json": City}, {"output_pydantic": City}]
    outputs = [crew_of(ScriptedLLM([GOOD]), **one).kickoff().tasks_output[0] for one in settings]
    assert [output.output_format for output in outputs] == ["raw", "json", "pydantic"]


# How it is asked for.


def test_the_schema_stands_in_the_prompt_and_in_the_request_if_the_llm_can() -> None:
    plain, bound = ScriptedLLM([GOOD]), SchemaLLM([GOOD])
    for llm in (plain, bound):
        crew_of(llm, output_pydantic=City).kickoff()
        prompt = llm.requests[0].messages[-1]["content"]
        assert '"description": "how many live there"' in str(prompt)
    assert plain.requests[0].json_schema is None
    assert bound.requests[0].json_schema == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "people": {"type": "integer", "minimum": 0, "description": "how many live there"},
        },
        "required": ["name", "people"],
        "additionalProperties": False,
    }


def test_policies_around_an_llm_do_not_change_what_it_can() -> None:
    assert SchemaLLM([]).with_policies().supports_json_schema()
    assert not ScriptedLLM([]).with_policies().supports_json_schema()


def test_with_tools_only_the_final_answer_has_the_schema(run: Callable[[Crew], Any]) -> None:
    call = ToolCall(id="1", name="look_up", arguments='{"name": "Oslo"}')
    llm = SchemaLLM([call, "It is Oslo", GOOD], supports_function_calling=True)
    assert run(crew_of(llm, tools=[look_up], output_pydantic=City)).pydantic.people == 5
    assert [bool(request.tools) for request in llm.requests] == [True, True, False]
    assert [request.json_schema is not None for request in llm.requests] == [False, False, True]


def test_tools_through_text(run: Callable[[Crew], Any]) -> None:
    act = 'Thought: look\nAction: look_up\nAction Input: {"name": "Oslo"}'
    llm = SchemaLLM([act, f"Thought: I know\nFinal Answer: {GOOD}"])
    assert run(crew_of(llm, tools=[look_up], output_pydantic=City)).pydantic.people == 5
    assert [request.json_schema for request in llm.requests] == [None, None]


def test_the_last_turn_of_an_agent_with_tools_is_bound() -> None:
    call = ToolCall(id="1", name="look_up", arguments='{"name": "Oslo"}')
    llm = SchemaLLM([call, GOOD], supports_function_calling=True)
    agent = Agent(role="Clerk", goal="Know cities", llm=llm, tools=[look_up], max_iter=2)
    Crew(agents=[agent], tasks=[Task(description="D", agent=agent, output_pydantic=City)]).kickoff()
    assert llm.requests[1].json_schema is not None


def test_nothing_is_asked_of_a_plain_task() -> None:
    llm = SchemaLLM(["Oslo"])
    crew_of(llm).kickoff()
    assert llm.requests[0].json_schema is None
    assert llm.requests[0].messages[-1]["content"] == "Which city?"


def test_markdown_is_asked_for() -> None:
    llm = ScriptedLLM(["# Oslo"])
    assert crew_of(llm, markdown=True).kickoff().raw == "# Oslo"
    assert "in Markdown" in str(llm.requests[0].messages[-1]["content"])


# Mending.


def test_the_model_is_shown_what_is_wrong(run: Callable[[Crew], Any]) -> None:
    llm = ScriptedLLM(["Oslo, I think", '{"people": -1}', GOOD])
    result = run(crew_of(llm, output_pydantic=City))
    assert result.pydantic.people == 5
    assert result.usage_metrics.requests == 3
    first, second = (str(request.messages[-1]["content"]) for request in llm.requests[1:])
    assert "there is no JSON in it" in first
    assert "'name' is missing" in second
    assert "'people': Input should be greater than or equal to 0" in second
    assert [message["content"] for message in llm.requests[2].messages if message["role"] == "assistant"] == [
        "Oslo, I think",
        '{"people": -1}',
    ]


def test_nothing_is_lost_in_the_end(run: Callable[[Crew], Any]) -> None:
    llm = ScriptedLLM(["one", '{"name": 2}', "three"])
    with pytest.raises(OutputError, match=r"no answer that fits City, asked 3 times: there is no JSON") as failure:
        run(crew_of(llm, output_pydantic=City))
    assert failure.value.text == "three"
    assert [error[:6] for error in failure.value.errors] == ["there ", "'name'", "there "]
    assert any("task 'Which city?'" in note for note in failure.value.__notes__)
    again = pickle.loads(pickle.dumps(failure.value))
    assert (again.text, again.errors) == (failure.value.text, failure.value.errors)


@pytest.mark.parametrize("repairs", [0, 1, 4])
def test_how_often_is_a_setting(repairs: int) -> None:
    llm = ScriptedLLM(["no"] * 9)
    with pytest.raises(OutputError):
        crew_of(llm, output_json=City, output_max_repairs=repairs).kickoff()
    assert len(llm.requests) == repairs + 1


@pytest.mark.parametrize(
    ("model", "answer", "said"),
    [
        (Closed, '{"name": "Oslo", "mayor": "Eva"}', "'mayor' is not in the schema"),
        (Picky, '{"name": "Town"}', "Town is no city"),
        (Picky, '{"name": "broken"}', "the validator itself is broken"),
        (City, '[{"name": "Oslo"}]', "object"),
        (City, '{"name": "Oslo", "people": 5', "EOF"),
        (City, '{"name": "\ud800"}', ""),
    ],
)
def test_what_is_said_of_a_wrong_answer(model: type[BaseModel], answer: str, said: str) -> None:
    llm = ScriptedLLM([answer, '{"name": "Oslo"}'])
    assert crew_of(llm, output_pydantic=model).kickoff()["name"] == "Oslo"
    assert said in str(llm.requests[1].messages[-1]["content"])


# Finding it.


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (GOOD, [GOOD]),
        (f"  {GOOD}\n", [GOOD]),
        (f"```json\n{GOOD}\n```", [GOOD]),
        (f"```\n{GOOD}\n```", [GOOD]),
        (f"Sure!\n```JSON\n{GOOD}```\nBye", [GOOD]),
        (f"The answer {GOOD} it is.", [GOOD]),
        (f"Use {{braces}} and [lists], like {GOOD}", [GOOD]),
        (f"<think>Perhaps {{'a': 1}} or {{\"a\": </think>{GOOD}", [GOOD]),
        ('Draft: {"a": 1}. Final: {"a": 2}', ['{"a": 1}', '{"a": 2}']),
        ('{"a": "} {"}', ['{"a": "} {"}']),
        ('Here: {"a": {"b": 1}, oops}', ['{"a": {"b": 1}, oops}']),
        ('Draft: {"a": 1}. Final: {"a":', ['{"a":']),
        ('```json\n{"a": "```"}\n```', ['{"a": "```"}']),
        ("```\n5\n```", ["5"]),
        ("Nothing here", []),
        ("", []),
        ("{", []),
    ],
)
def test_json_is_found_around_other_words(answer: str, found: list[str]) -> None:
    assert list(find(answer)) == found


def test_the_last_value_that_fits_counts() -> None:
    read = structure_of("T", City, None, 2).read  # type: ignore[union-attr]
    assert read('Draft {"name": "Rome"}, better {"name": "Oslo"}. See [1].').value == City(name="Oslo")


@given(st.text(alphabet='{}[]",:`\\ \nab01'))
def test_any_text_is_read(text: str) -> None:
    for found in find(text):
        assert found in text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_json_is_found_whole(value: Any) -> None:
    text = json.dumps({"value": value})
    assert list(find(f"So:\n{text}\nDone.")) == [text]


@pytest.mark.parametrize("text", ['{"a":' * 50_000, "[" * 50_000, "{ " * 50_000, '{"a": 1} ' * 20_000])
def test_odd_texts_end(text: str) -> None:
    assert len(list(find(text))) <= 100


# Schemas.


class Kind(enum.Enum):
    BIG = "big"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Zoo(BaseModel):
    """A zoo."""

    default: int = 1
    home: City = Field(description="where it is")
    size: Kind = Kind.BIG
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []


def test_a_strict_schema_is_what_strict_modes_take() -> None:
    schema = strict(Zoo.model_json_schema())
    assert schema["required"] == ["default", "home", "size", "pets"]
    assert schema["properties"]["home"] == {"$ref": "#/$defs/City"}
    assert schema["properties"]["pets"]["items"] == {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}
    assert schema["$defs"]["City"]["required"] == ["name", "people"]
    assert all(one["additionalProperties"] is False for one in (schema, *map(schema["$defs"].get, ("City", "Dog"))))


def test_a_schema_that_is_a_reference_keeps_its_definitions() -> None:
    class Node(BaseModel):
        children: list[Node] = []

    Node.model_rebuild()
    schema = strict(Node.model_json_schema())
    assert schema["$ref"] == "#/$defs/Node"
    assert schema["$defs"]["Node"]["additionalProperties"] is False


def test_wrong_structures_are_refused_at_once() -> None:
    class Odd(BaseModel):
        function: Callable[[], int]

    with pytest.raises(ConfigurationError, match=re.escape("Task 'D': output_json: Odd has no JSON schema")):
        Task(description="D", output_json=Odd)
    with pytest.raises(ConfigurationError, match="output_pydantic or output_json, not both"):
        Task(description="D", output_json=City, output_pydantic=City)


# Over HTTP.

REFUSAL = {"error": {"message": "'response_format' of type 'json_schema' is not supported by this model."}}


def test_an_endpoint_is_sent_the_schema() -> None:
    with LoopbackEndpoint([GOOD]) as endpoint:
        crew_of(ChatLLM("m", endpoint.url), output_pydantic=City).kickoff()
        sent = json.loads(endpoint.requests[0].body)["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["strict"] is True


def test_an_endpoint_that_refuses_schemas_is_asked_without_from_then_on(
    run: Callable[[Crew], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "oarlock.agents")
    with LoopbackEndpoint([Status(400, body=REFUSAL), GOOD, GOOD]) as endpoint:
        llm = ChatLLM("m", endpoint.url)
        assert llm.supports_json_schema()
        for _ in range(2):
            assert run(crew_of(llm, output_pydantic=City)).pydantic.people == 5
        sent = ["response_format" in json.loads(request.body) for request in endpoint.requests]
    assert sent == [True, False, False]
    assert not llm.supports_json_schema()
    assert "takes no JSON schema" in caplog.text


def test_one_schema_that_is_refused_does_not_count_for_all() -> None:
    said = "Invalid schema for response_format 'answer': schema must be of type object."
    with LoopbackEndpoint([Status(400, body={"error": {"message": said}}), f"[{GOOD}]"]) as endpoint:
        llm = ChatLLM("m", endpoint.url)
        assert crew_of(llm, output_json=Cities).kickoff().json_dict == [{"name": "Oslo", "people": 5}]
        assert ["response_format" in json.loads(request.body) for request in endpoint.requests] == [True, False]
    assert llm.supports_json_schema()


def test_an_endpoint_can_be_told_about() -> None:
    assert ChatLLM("m", "http://127.0.0.1:9", json_schema=True).supports_json_schema()
    assert not ChatLLM("m", "http://127.0.0.1:9", json_schema=False).supports_json_schema()
    with pytest.raises(ConfigurationError, match="json_schema"):
        ChatLLM("m", "http://127.0.0.1:9", json_schema="yes")  # type: ignore[arg-type]


def test_another_bad_request_is_an_error() -> None:
    with LoopbackEndpoint([Status(400, body={"error": {"message": "no such model"}})]) as endpoint:
        llm = ChatLLM("m", endpoint.url)
        with pytest.raises(BadRequestError, match="no such model"):
            crew_of(llm, output_pydantic=City).kickoff()
        assert len(endpoint.requests) == 1
    assert llm.supports_json_schema()


# A real model.


@pytest.mark.model
def test_a_small_model_is_bound_by_its_grammar(run: Callable[[Crew], Any]) -> None:
    from oarlock import LocalLLM

    with LocalLLM(temperature=0, max_tokens=100, context_window=1024) as llm:

        class Capital(BaseModel):
            capital: str = Field(max_length=20)
            country: Literal["France"]

        agent = Agent(role="Clerk", goal="Answer", llm=llm)
        task = Task(description="What is the capital of France?", agent=agent, output_pydantic=Capital)
        result = run(Crew(agents=[agent], tasks=[task]))
    assert isinstance(result.pydantic, Capital)
    assert result.usage_metrics.requests == 1
