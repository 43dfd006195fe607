"""Runs that are recorded: a server that ends leaves them to the next one."""

import asyncio
from pathlib import Path

import pytest
from serve_helpers import within
from test_runs import begin, ended, question, reply

from oarlock import Agent, BaseLLM, Crew, Task
from oarlock.durable import RunHandle
from oarlock.serve import create_app

pytestmark = pytest.mark.timeout(60)


class Halts(BaseLLM):
    """Answers the first task at once, and the second one when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.may = False
        self.halted = asyncio.Event()

    async def acall(self, messages):
        self.asked.append(messages[-1]["content"])
        if len(self.asked) > 1 and not self.may:
            self.halted.set()
            await asyncio.Event().wait()
        return f"Answer {len(self.asked)}"


def crew_on(llm: BaseLLM, **last: bool) -> Crew:
    agent = Agent(role="Poet", goal="Rhyme", backstory="Old", llm=llm)
    first = Task(name="first", description="On {topic}", agent=agent)
    return Crew(name="poem", agents=[agent], tasks=[first, Task(name="last", description="More", agent=agent, **last)])


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


async def test_a_human_is_asked_over_http(database: str):
    llm = Halts()
    llm.may = True
    app = create_app(crews={"poem": crew_on(llm, human_input=True)}, database=database)
    async with within(app, timeout=60) as client:
        run = await begin(client, run_id="r-2")
        asked = await question(client, run)
        await reply(client, run, question=asked["id"], answer="Longer.")
        asked = await question(client, run)
        await reply(client, run, question=asked["id"], answer="")
        assert (await ended(client, run))["result"]["answer"] == "Answer 3"


async def test_a_run_that_is_cancelled_does_not_go_on(database: str):
    llm = Halts()
    app = create_app(crews={"poem": crew_on(llm)}, database=database)
    async with within(app, timeout=60) as client:
        run = await begin(client, run_id="r-3")
        await llm.halted.wait()
        await client.post(f"/runs/{run['id']}/cancel")
        assert (await ended(client, run))["status"] == "cancelled"
    assert str(RunHandle("-:r-3", database=database).status) == "cancelled"
