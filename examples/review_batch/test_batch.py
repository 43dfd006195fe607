"""The batch with a model that answers by function: no network, no key, no cost."""

import asyncio
import json

import batch
import pytest

from oarlock.errors import BudgetExceededError
from oarlock.policies import Budget
from oarlock.testing import FunctionLLM

ROWS = [{"id": str(number), "product": "kettle", "text": f"Review {number}"} for number in range(batch.CHUNK * 2)]


@pytest.fixture
def llm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return FunctionLLM(lambda messages: json.dumps({"mood": "good"}))


def test_every_row_gets_its_result(llm):
    asyncio.run(batch.read_all(batch.reading_crew(batch.careful(llm)), ROWS))
    assert [result["id"] for result in batch.results()] == [row["id"] for row in ROWS]
    assert len(llm.requests) == len(ROWS)


def test_an_interrupted_run_goes_on_and_pays_for_nothing_twice(llm):
    crew = batch.reading_crew(batch.careful(llm))
    with pytest.raises(BudgetExceededError), Budget(requests=batch.CHUNK + 10):
        asyncio.run(batch.read_all(crew, ROWS))
    done = {result["id"] for result in batch.results()}
    assert len(done) == batch.CHUNK
    asyncio.run(batch.read_all(crew, [row for row in ROWS if row["id"] not in done]))
    assert len(batch.results()) == len(ROWS)
    assert len(llm.requests) == len(ROWS)
