"""Crews over HTTP: begin, follow, answer, fetch, cancel."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from pydantic import BaseModel
from serve_helpers import KEY, key, within

from oarlock import Agent, BaseLLM, ConfigurationError, Crew, Task, tool
from oarlock.contract.reply import Delta, Reply, ToolCall, Usage
from oarlock.errors import AuthenticationError, RateLimitError
from oarlock.events import TaskStarted
from oarlock.policies import Budget, RateLimit
from oarlock.serve import Limits, create_app
from oarlock.serve.runs.journal import Journal
from oarlock.testing import ScriptedLLM

OTHER_KEY = "another-key-nobody-guesses"
USAGE = Usage(prompt_tokens=10, completion_tokens=2)


@tool(dangerous=True)
def publish(text: str) -> str:
    """Publish a text."""
    return f"Published: {text}"


def crew_of(llm: BaseLLM, *, tools: Any = (), **task: Any) -> Crew:
    agent = Agent(role="Poet", goal="Rhyme on {topic}", backstory="Old", llm=llm, tools=list(tools))
    return Crew(agents=[agent], tasks=[Task(name="rhyme", description="A line on {topic}", agent=agent, **task)])


def poet(*replies: Any, **task: Any) -> Crew:
    return crew_of(ScriptedLLM(list(replies) or ["Row, row."]), **task)


@asynccontextmanager
async def client_of(crews: Any, shown: str | None = None, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"authorization": f"Bearer {shown}"} if shown else {}
    async with within(create_app(crews=crews, **settings), headers=headers, timeout=60) as client:
        yield client


async def begin(client: httpx2.AsyncClient, crew: str = "poem", **body: Any) -> dict[str, Any]:
    response = await client.post(f"/crews/{crew}/runs", json={"inputs": {"topic": "boats"}, **body})
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/runs/{response.json()['id']}"
    return response.json()


async def ended(client: httpx2.AsyncClient, run: dict[str, Any]) -> dict[str, Any]:
    return (await client.get(f"/runs/{run['id']}", params={"wait": 30})).json()


async def events(client: httpx2.AsyncClient, run: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """Return all events of a run that has ended or will, with their numbers."""
    text = (await client.get(f"/runs/{run['id']}/events", **options)).text
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            found.append({**json.loads(fields["data"]), "id": fields.get("id"), "named": fields["event"]})
    return found


async def question(client: httpx2.AsyncClient, run: dict[str, Any]) -> dict[str, Any]:
    """Return the question that a run has, once it has one."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        now = (await client.get(f"/runs/{run['id']}")).json()
        if now["questions"]:
            assert now["status"] == "waiting"
            return now["questions"][0]
        assert now["status"] == "running", now
        await asyncio.sleep(0.005)  # without a pause it would starve the threads that work
    raise AssertionError("no question came")


async def reply(client: httpx2.AsyncClient, run: dict[str, Any], **answer: Any) -> httpx2.Response:
    return await client.post(f"/runs/{run['id']}/answers", json=answer)


async def test_a_run_from_its_beginning_to_its_result():
    async with client_of({"poem": poet(Reply(text="Row, row.", usage=USAGE))}) as client:
        listed = (await client.get("/crews")).json()["data"]
        assert listed == [
            {"id": "poem", "object": "crew", "inputs": ["topic"], "tasks": ["rhyme"], "agents": ["Poet"]}
        ] or (listed[0]["agents"] == ["Poet"])
        run = await begin(client)
        assert run["status"] == "running"
        done = await ended(client, run)
        assert (done["status"], done["result"]["answer"]) == ("finished", "Row, row.")
        assert done["result"]["tasks"][0]["agent"] == "Poet"
        assert done["usage"]["total_tokens"] == 12
        assert done["ended"] >= done["created"]
        summaries = (await client.get("/runs")).json()["data"]
        assert [one["id"] for one in summaries] == [run["id"]]
        assert "result" not in summaries[0]


async def test_a_structure_is_json():
    class Line(BaseModel):
        text: str

    crew = poet('{"text": "Row"}', output_pydantic=Line)
    async with client_of({"poem": crew}) as client:
        done = await ended(client, await begin(client))
    assert done["result"]["structure"] == {"text": "Row"}


async def test_events_in_order_and_once():
    async with client_of({"poem": poet()}) as client:
        run = await begin(client, run_id="r-1")
        seen = await events(client, run)
        names = [event["named"] for event in seen]
        assert names == ["RunStarted", "TaskStarted", "CallStarted", "CallFinished", "TaskFinished", "RunFinished"]
        numbers = [int(event["id"]) for event in seen]
        assert numbers == sorted(set(numbers))
        assert numbers[0] == 1
        assert {event["run_id"] for event in seen} == {"r-1"}
        assert not any("request" in event for event in seen), "prompts are the server's business"
        assert await events(client, run, headers={"last-event-id": seen[2]["id"]}) == seen[3:]
        assert await events(client, run, params={"after": numbers[-2]}) == seen[-1:]
        assert await events(client, run, params={"after": 999}) == []


async def test_an_answer_is_followed_piece_by_piece_and_kept_as_a_whole():
    go_on = asyncio.Event()

    class Halts(BaseLLM):
        async def _respond(self, runtime, request):
            await request.deltas.put(Delta("Row, "))
            await go_on.wait()
            await request.deltas.put(Delta("row."))
            return Reply(text="Row, row.")

    async with client_of({"poem": crew_of(Halts())}) as client:
        run = await begin(client)
        following = asyncio.ensure_future(events(client, run))
        for _ in range(100):
            await asyncio.sleep(0.005)  # without a pause it would starve the threads that work
        go_on.set()
        live = [event for event in await following if event["named"] == "ModelDelta"]
        assert live[0]["text"] == "Row, "
        late = await events(client, run)
        assert not [event for event in late if event["named"] in ("ModelDelta", "EventsMissed")]
        assert late[-1]["answer"] == "Row, row."


async def test_events_that_were_let_go_of_are_counted():
    async with client_of({"poem": poet()}, limits=Limits(events_kept=2)) as client:
        run = await begin(client)
        await ended(client, run)
        seen = await events(client, run)
    assert [event["named"] for event in seen] == ["EventsMissed", "TaskFinished", "RunFinished"]
    assert seen[0]["count"] == int(seen[1]["id"]) - 1


async def test_a_human_is_asked_and_heard():
    crew = poet("Row.", "Row, row.", human_input=True)
    async with client_of({"poem": crew}) as client:
        run = await begin(client)
        asked = await question(client, run)
        assert (asked["kind"], asked["agent"], asked["answer"]) == ("human_input", "Poet", "Row.")
        assert (await reply(client, run, question=asked["id"], answer="Longer.")).json()["questions"] == []
        asked = await question(client, run)
        assert asked["answer"] == "Row, row."
        assert (await reply(client, run, question=asked["id"])).status_code == 200
        assert (await ended(client, run))["result"]["answer"] == "Row, row."
        late = await reply(client, run, question=asked["id"])
        assert (late.status_code, late.json()["error"]["code"]) == (404, "question_not_found")


@pytest.mark.parametrize(
    ("verdict", "hears"),
    [
        ({"approve": True}, "Published: Row"),
        ({"approve": False}, "refused"),
        ({"approve": False, "answer": "too short"}, "too short"),
    ],
)
async def test_a_dangerous_tool_waits_for_an_approval(verdict: Any, hears: str):
    call = ToolCall(id="c", name="publish", arguments='{"text": "Row"}')
    llm = ScriptedLLM([Reply(tool_calls=(call,)), "Done."], supports_function_calling=True)
    async with client_of({"poem": crew_of(llm, tools=[publish])}) as client:
        run = await begin(client)
        asked = await question(client, run)
        assert (asked["kind"], asked["tool"], asked["arguments"]) == ("approval", "publish", {"text": "Row"})
        wrong = await reply(client, run, question=asked["id"], answer="yes")
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "approve")
        assert (await reply(client, run, question=asked["id"], **verdict)).is_success
        assert (await ended(client, run))["status"] == "finished"
    assert hears in llm.requests[1].messages[-1]["content"]


async def test_a_crews_own_way_of_asking_is_kept():
    crew = poet("Row.", human_input=True)
    crew.on_human_input = lambda output: None
    async with client_of({"poem": crew}) as client:
        assert (await ended(client, await begin(client)))["status"] == "finished"


async def test_serving_changes_no_crew():
    crew = poet()
    async with client_of({"poem": crew}) as client:
        await ended(client, await begin(client))
    assert crew.on_human_input is None
    assert crew.on_approval is None


class Waits(BaseLLM):
    async def acall(self, messages):
        await asyncio.Event().wait()


async def test_a_run_is_cancelled():
    async with client_of({"poem": crew_of(Waits())}) as client:
        run = await begin(client)
        assert (await client.post(f"/runs/{run['id']}/cancel")).status_code == 202
        done = await ended(client, run)
        assert (done["status"], done["error"]["code"]) == ("cancelled", "cancelled")
        assert (await client.post(f"/runs/{run['id']}/cancel")).json()["status"] == "cancelled"


async def test_a_run_at_work_is_cancelled_and_its_followers_hear():
    began = asyncio.Event()

    class Begins(Waits):
        async def acall(self, messages):
            began.set()
            await asyncio.Event().wait()

    async with client_of({"poem": crew_of(Begins())}) as client:
        run = await begin(client)
        following = asyncio.ensure_future(events(client, run))
        await began.wait()
        await client.post(f"/runs/{run['id']}/cancel")
        last = (await following)[-1]
        assert (last["named"], last["error"]["code"]) == ("RunFailed", "cancelled")
        assert (await ended(client, run))["status"] == "cancelled"


async def test_a_failure_is_told_without_what_is_inside():
    crew = poet(AuthenticationError("https://inside.example.com answered 401: key sk-1234567890123456"))
    async with client_of({"poem": crew}) as client:
        run = await begin(client)
        done = await ended(client, run)
        assert (done["status"], done["result"]) == ("failed", None)
        assert done["error"]["type"] == "AuthenticationError"
        assert done["error"]["code"] == "upstream_authentication_failed"
        told = json.dumps([done, await events(client, run)])
        assert "inside.example.com" not in told
        assert "sk-" not in told


async def test_the_same_id_is_the_same_run():
    llm = ScriptedLLM(["Row."])
    async with client_of({"poem": crew_of(llm), "other": poet()}) as client:
        run = await begin(client, run_id="r-1")
        await ended(client, run)
        assert (await begin(client, run_id="r-1"))["status"] == "finished"
        clash = await client.post("/crews/other/runs", json={"inputs": {"topic": "x"}, "run_id": "r-1"})
        assert (clash.status_code, clash.json()["error"]["code"]) == (409, "run_exists")
    assert len(llm.requests) == 1


async def test_nobody_sees_anothers_runs():
    app = create_app(crews={"poem": poet("One.", "Two.")}, keys=[key(), key("bob", OTHER_KEY)])
    alice, bob = ({"headers": {"authorization": f"Bearer {one}"}, "timeout": 60} for one in (KEY, OTHER_KEY))
    async with within(app, **alice) as hers, within(app, **bob) as his:
        run = await begin(hers, run_id="r-1")
        await ended(hers, run)
        assert (await his.get("/runs")).json()["data"] == []
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/answers")):
            response = await his.request(
                method, f"/runs/r-1{path}", json={"question": "x"} if method == "POST" else None
            )
            assert (response.status_code, response.json()["error"]["code"]) == (404, "run_not_found")
        theirs = await ended(his, await begin(his, run_id="r-1"))
        assert (theirs["result"]["answer"], (await ended(hers, run))["result"]["answer"]) == ("Two.", "One.")


async def test_a_keys_limits_hold_for_its_runs():
    spent = Budget(requests=1)
    app = create_app(crews={"poem": poet("One.", "Two.")}, keys=[key(policies=[spent])])
    async with within(app, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
        assert (await ended(client, await begin(client)))["status"] == "finished"
        done = await ended(client, await begin(client))
    assert (done["status"], done["error"]["code"]) == ("failed", "budget_exceeded")
    assert spent.spent.requests == 1


async def test_a_run_waits_for_its_keys_pace():
    pace = RateLimit(requests_per_minute=6000, burst=1, max_wait=0)
    app = create_app(crews={"poem": poet("One.", "Two.")}, keys=[key(policies=[pace])])
    async with within(app, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
        runs = [await begin(client), await begin(client)]
        assert [(await ended(client, run))["status"] for run in runs] == ["finished", "finished"]
        causes = [
            event.get("cause") for run in runs for event in await events(client, run) if event["named"] == "Waiting"
        ]
    assert set(causes) <= {"rate_limit"}


async def test_a_models_limit_ends_a_run_as_ever():
    pace = RateLimit(requests_per_minute=6000, max_wait=0)
    crew = poet(RateLimitError("slow down", status=429, retry_after=5))
    app = create_app(crews={"poem": crew}, keys=[key(policies=[pace])])
    async with within(app, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
        done = await ended(client, await begin(client))
    assert (done["status"], done["error"]["code"]) == ("failed", "rate_limit_exceeded")


async def test_a_question_larger_than_the_keys_limit_is_not_waited_for():
    pace = RateLimit(tokens_per_minute=1, max_wait=0)
    app = create_app(crews={"poem": poet()}, keys=[key(policies=[pace])])
    async with within(app, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
        done = await ended(client, await begin(client))
    assert (done["status"], done["error"]["code"]) == ("failed", "rate_limit_exceeded")


async def test_events_from_other_threads_are_heard():
    inner = crew_of(ScriptedLLM(["Inside."]))

    @tool
    def ask_others(topic: str) -> str:
        """Ask another crew."""
        return str(inner.kickoff({"topic": topic}, on_event=None))

    call = ToolCall(id="c", name="ask_others", arguments='{"topic": "oars"}')
    llm = ScriptedLLM([Reply(tool_calls=(call,)), "Done."], supports_function_calling=True)
    async with client_of({"poem": crew_of(llm, tools=[ask_others])}) as client:
        run = await begin(client)
        names = [event["named"] for event in await events(client, run)]
    assert names[0] == "RunStarted"
    assert names[-1] == "RunFinished"
    assert "ToolFinished" in names


async def test_a_journal_is_written_from_any_thread_and_after_the_end():
    journal = Journal("r-1", 10)
    reading = asyncio.ensure_future(anext(journal.read(0)))
    await asyncio.sleep(0)
    await asyncio.to_thread(journal.write, TaskStarted(task="rhyme", agent="Poet"))
    assert b"event: TaskStarted" in await reading


def test_a_journal_outlives_its_loop():
    async def made() -> Journal:
        return Journal("r-1", 10)

    asyncio.run(made()).write(TaskStarted(task="rhyme", agent="Poet"))


async def test_limits_on_runs():
    limits = Limits(runs_at_once=1, runs_kept=1)
    async with client_of({"waits": crew_of(Waits()), "poem": poet("One.", "Two.", "Three.")}, limits=limits) as client:
        waiting = await begin(client, "waits")
        busy = await client.post("/crews/poem/runs", json={"inputs": {"topic": "x"}})
        assert (busy.status_code, busy.json()["error"]["code"], busy.headers["retry-after"]) == (503, "busy", "10")
        await client.post(f"/runs/{waiting['id']}/cancel")
        await ended(client, waiting)
        for _ in range(2):
            last = await begin(client)
            await ended(client, last)
        assert [one["id"] for one in (await client.get("/runs")).json()["data"]] == [last["id"]]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "inputs.topic", "missing_input"),
        ({"inputs": []}, "inputs", "invalid_type"),
        ({"inputs": {"topic": "x"}, "run_id": "a/b"}, "run_id", "invalid_value"),
        ({"inputs": {"topic": "x"}, "run_id": 5}, "run_id", "invalid_value"),
        ({"input": {}}, "input", "unknown_parameter"),
    ],
)
async def test_bodies_that_cannot_be(body: Any, param: str, code: str):
    async with client_of({"poem": poet()}) as client:
        response = await client.post("/crews/poem/runs", json=body)
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (400, param, code)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/runs/none", 404, "run_not_found"),
        ("/runs/r-1?wait=61", 400, "invalid_value"),
        ("/runs/r-1?wait=x", 400, "invalid_value"),
        ("/runs?limit=-1", 400, "invalid_value"),
        ("/runs/r-1/events?after=x", 400, "invalid_value"),
        ("/crews/none/runs", 405, "method_not_allowed"),
    ],
)
async def test_urls_that_cannot_be(path: str, status: int, code: str):
    async with client_of({"poem": poet()}) as client:
        await begin(client, run_id="r-1")
        response = await client.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_an_unknown_crew():
    async with client_of({"poem": poet()}) as client:
        response = await client.post("/crews/none/runs", json={})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "crew_not_found")


async def test_inputs_that_a_function_adds_are_not_missing():
    crew = poet()
    crew.before_kickoff_callbacks = [lambda inputs: {**inputs, "topic": "boats"}]
    async with client_of({"poem": crew}) as client:
        run = (await client.post("/crews/poem/runs", json={})).json()
        assert (await ended(client, run))["status"] == "finished"


@pytest.mark.parametrize("crews", [{"a/b": poet()}, {"poem": object()}, {"": poet()}])
def test_crews_that_cannot_be(crews: Any):
    with pytest.raises(ConfigurationError):
        create_app(crews=crews)


async def test_when_the_server_ends_runs_are_let_end_or_cancelled():
    app = create_app(crews={"poem": poet(), "waits": crew_of(Waits()), "asks": poet("Row.", human_input=True)})
    async with within(app, timeout=60) as client:
        runs = {name: await begin(client, name) for name in ("poem", "waits", "asks")}
        await question(client, runs["asks"])
        following = asyncio.ensure_future(events(client, runs["waits"]))
        await asyncio.sleep(0.0)
        app.drain()
        await following
        await app.close(0.01)
        refused = await client.get("/runs")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ending")
    statuses = {run.crew: run.status for run in app._runs._runs.values()}
    assert statuses == {"poem": "finished", "waits": "cancelled", "asks": "cancelled"}


# The OpenAPI document.


@pytest.mark.parametrize("keys", [[], [key()]])
async def test_the_document_is_one(keys: Any):
    app = create_app({"mine": ScriptedLLM([])}, crews={"poem": poet()}, keys=keys)
    async with within(app) as client:
        document = (await client.get("/openapi.json")).json()
    validate(document, cls=OpenAPIV31SpecValidator)
    secured = {path for path, item in document["paths"].items() for one in item.values() if "security" in one}
    assert (secured == set()) == (not keys)
    assert "/health" not in secured


async def test_the_document_tells_the_truth_about_answers():
    """Each answer fits the schema that the document has for it."""
    from jsonschema import Draft202012Validator

    app = create_app({"mine": ScriptedLLM(["Hello"])}, crews={"poem": poet("Row.", human_input=True)})
    async with within(app, timeout=60) as client:
        document = (await client.get("/openapi.json")).json()

        async def checked(method: str, path: str, filled: str, **options: Any) -> Any:
            response = await client.request(method, filled, **options)
            described = document["paths"][path][method.lower()]["responses"]
            good = described.get(str(response.status_code), described["default"])
            schema = {**good["content"]["application/json"]["schema"], "components": document["components"]}
            Draft202012Validator(schema).validate(response.json())
            return response.json()

        await checked("GET", "/health", "/health")
        await checked("GET", "/v1/models", "/v1/models")
        await checked("GET", "/v1/models/{model}", "/v1/models/mine")
        await checked("GET", "/v1/models/{model}", "/v1/models/none")
        asked = {"model": "mine", "messages": [{"role": "user", "content": "Hi"}]}
        await checked("POST", "/v1/chat/completions", "/v1/chat/completions", json=asked)
        await checked("POST", "/v1/chat/completions", "/v1/chat/completions", json={})
        await checked("GET", "/crews", "/crews")
        inputs = {"inputs": {"topic": "boats"}}
        run = await checked("POST", "/crews/{crew}/runs", "/crews/poem/runs", json=inputs)
        asks = await question(client, run)
        await checked("GET", "/runs", "/runs")
        await checked("GET", "/runs/{run}", f"/runs/{run['id']}")
        answer = {"question": asks["id"]}
        await checked("POST", "/runs/{run}/answers", f"/runs/{run['id']}/answers", json=answer)
        await checked("GET", "/runs/{run}", f"/runs/{run['id']}?wait=30")
        await checked("POST", "/runs/{run}/cancel", f"/runs/{run['id']}/cancel")
        await checked("GET", "/runs/{run}", "/runs/none")
