"""Reads 200 reviews, sixteen at a time, within limits and a budget; when it is interrupted, run it again, and it goes on.

Run it with: python batch.py reviews.csv --llm openai/gpt-4o-mini
"""

import argparse
import asyncio
import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from oarlock import LLM, Agent, BaseLLM, Crew, Task
from oarlock.errors import BudgetExceededError
from oarlock.policies import Budget, Cache, Concurrency, Deadline, RateLimit, Retry

RESULTS = Path("results.jsonl")
CHUNK = 40  # rows whose results are written together

Row = dict[str, str]


class Reading(BaseModel):
    """What a review says."""

    mood: Literal["good", "mixed", "bad"]
    complaint: str | None = None


def careful(llm: BaseLLM) -> BaseLLM:
    """Return the LLM within the limits of its endpoint, with its answers kept in a file."""
    return llm.with_policies(
        Cache("answers.db"),  # what was answered before an interruption costs nothing the second time
        Concurrency(16),
        RateLimit(requests_per_minute=3000, tokens_per_minute=1_000_000),
        Retry(),
        Deadline(120),
    )


def reading_crew(llm: BaseLLM) -> Crew:
    """Return a crew of one that reads one review."""
    reader = Agent(role="Reader", goal="Say what a customer thinks", backstory="You read between the lines.", llm=llm)
    read = Task(
        description="What does this customer think of the {product}?\n\n{text}",
        expected_output="The mood, and the complaint in a few words if there is one",
        agent=reader,
        output_pydantic=Reading,
    )
    return Crew(agents=[reader], tasks=[read])


def rows_left(path: Path) -> list[Row]:
    """Return the rows that have no result yet."""
    done = {result["id"] for result in results()}
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["id"] not in done]


def results() -> list[dict[str, str]]:
    """Return the results so far."""
    return [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()] if RESULTS.exists() else []


async def read_all(crew: Crew, rows: Sequence[Row]) -> None:
    """Read rows side by side, and write down what they say, a chunk at a time."""
    with RESULTS.open("a", encoding="utf-8") as file:
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            outputs = await crew.akickoff_for_each(chunk)
            file.writelines(line_of(row, output.pydantic) for row, output in zip(chunk, outputs, strict=True))
            file.flush()


def line_of(row: Row, reading: Reading) -> str:
    """Return a row's result as a line of the file."""
    return json.dumps({"id": row["id"], "product": row["product"], **reading.model_dump()}) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reviews", type=Path)
    parser.add_argument("--llm", default="openai/gpt-4o-mini", help="such as ollama/llama3.2")
    parser.add_argument("--requests", type=int, default=1000, help="most model calls of this run")
    given = parser.parse_args(arguments)

    rows = rows_left(given.reviews)
    print(f"{len(rows)} rows to read")
    try:
        with Budget(requests=given.requests) as budget:
            asyncio.run(read_all(reading_crew(careful(LLM(given.llm))), rows))
    except BudgetExceededError:
        print(f"{given.requests} calls are used up, {len(results())} rows are done. Run it again to go on.")
        return 1
    moods = Counter(result["mood"] for result in results())
    print(f"All {moods.total()} rows are done: {', '.join(f'{moods[mood]} {mood}' for mood in sorted(moods))}")
    print(f"{budget.spent.requests} calls in this run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
