"""Triage of support tickets on a model behind the company's gateway. Run it with: python triage.py tickets.json"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from oarlock import Agent, BaseLLM, ChatLLM, Crew, CrewOutput, Task, TaskOutput
from oarlock.auth import ClientCredentials
from oarlock.policies import CircuitBreaker, Deadline, RateLimit, Retry

PROMISES = re.compile(r"refund|credit|tomorrow|within \d+|by (mon|tues|wednes|thurs|fri)day", re.IGNORECASE)


class Triage(BaseModel):
    """What the help desk has to know about a ticket."""

    team: Literal["accounts", "billing", "platform"]
    urgency: int = Field(
        ge=1, le=4, description="1: nobody can work. 2: one customer cannot work. 3: a nuisance. 4: a question"
    )
    summary: str = Field(max_length=120)


def gateway() -> BaseLLM:
    """Return the model behind the gateway, as the environment describes it."""
    sign_in = ClientCredentials(
        os.environ["GATEWAY_TOKEN_URL"],
        os.environ["GATEWAY_CLIENT_ID"],
        os.environ["GATEWAY_CLIENT_SECRET"],
        scope="llm.use",
    )
    llm = ChatLLM(os.environ["GATEWAY_MODEL"], os.environ["GATEWAY_URL"], auth=sign_in, timeout=30, temperature=0)
    return llm.with_policies(Retry(), RateLimit(requests_per_minute=300), CircuitBreaker(), Deadline(90))


def promises_nothing(output: TaskOutput) -> tuple[bool, str]:
    """Refuse replies that promise money or a date: only people may do that."""
    if found := PROMISES.search(output.raw):
        return False, f"It promises something ({found[0]!r}). Say that a colleague will look into it, and nothing more."
    return True, output.raw


def triage_crew(llm: BaseLLM) -> Crew:
    """Return a crew that sorts one ticket and drafts the first reply to it."""
    dispatcher = Agent(
        role="Dispatcher",
        goal="Send each ticket to the team that can help, with the right urgency",
        backstory="You have seen ten thousand tickets. You judge by what a customer cannot do, not by how loud they are.",
        llm=llm,
    )
    correspondent = Agent(
        role="Correspondent",
        goal="Answer customers so that they know they were understood",
        backstory="You write three short sentences, in plain words.",
        llm=llm,
    )
    sort = Task(
        name="sort",
        description="Sort this ticket of the customer {customer}:\n\n{text}",
        expected_output="The team, the urgency and a summary of one line",
        agent=dispatcher,
        output_pydantic=Triage,
    )
    reply = Task(
        name="reply",
        description="Draft the first reply to this ticket of the customer {customer}:\n\n{text}",
        expected_output="The reply",
        agent=correspondent,
        guardrails=[promises_nothing, "The reply asks for nothing that the ticket says already."],
        guardrail_max_retries=2,
    )
    return Crew(agents=[dispatcher, correspondent], tasks=[sort, reply])


def show(ticket: dict[str, str], result: CrewOutput) -> None:
    """Print what became of a ticket."""
    sorted_as, reply = result.tasks_output
    triage = sorted_as.pydantic
    print(f"[{triage.urgency}] {ticket['id']} -> {triage.team}: {triage.summary}")
    print(f"    {reply.raw}")


def main(path: str) -> None:
    """Sort the tickets of a file, the most urgent first."""
    tickets = json.loads(Path(path).read_text(encoding="utf-8"))
    results = triage_crew(gateway()).kickoff_for_each(tickets)
    done = sorted(zip(tickets, results, strict=True), key=lambda pair: pair[1].tasks_output[0].pydantic.urgency)
    for ticket, result in done:
        show(ticket, result)
    print(f"{len(done)} tickets, {sum(result.token_usage.requests for result in results)} model calls")


if __name__ == "__main__":
    main(*sys.argv[1:])
