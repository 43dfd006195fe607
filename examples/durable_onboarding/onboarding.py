"""Takes a new supplier on: checks the application, opens the account, writes the welcome. Run again, it goes on where it was.

Run it with: python onboarding.py applications/ropewalk.txt --llm openai/gpt-4o
"""

import argparse
import json
from pathlib import Path

from oarlock import LLM, Agent, BaseLLM, Crew, Task, tool

DATABASE = "sqlite:///runs.db"  # or postgresql://..., for many machines
ACCOUNTS = Path("accounts.jsonl")


@tool
def open_account(supplier: str, idempotency_key: str) -> str:
    """Open an account for a supplier.

    Args:
        supplier: its name.
    """
    accounts = [json.loads(line) for line in ACCOUNTS.read_text().splitlines()] if ACCOUNTS.exists() else []
    known = next((one for one in accounts if one["key"] == idempotency_key), None)
    if known is None:  # the same key again: the call was cut off, and this is the second try
        known = {"key": idempotency_key, "supplier": supplier, "number": 7001 + len(accounts)}
        with ACCOUNTS.open("a") as file:
            file.write(json.dumps(known) + "\n")
    return f"Account {known['number']} is open."


def onboarding_crew(llm: BaseLLM) -> Crew:
    """Return a crew of two that takes one supplier on."""
    auditor = Agent(role="Auditor", goal="Let no bad supplier in", backstory="You have seen every trick.", llm=llm)
    clerk = Agent(
        role="Clerk", goal="Get things done", backstory="You do it once, and right.", llm=llm, tools=[open_account]
    )
    check = Task(
        name="check",
        description="Check this application:\n\n{application}",
        expected_output="'Accepted' or 'Refused', and why, in one sentence",
        agent=auditor,
    )
    account = Task(
        name="account",
        description="Open the account of the supplier, if the application was accepted.",
        expected_output="The number of the account",
        agent=clerk,
    )
    welcome = Task(
        name="welcome",
        description="Write to the supplier how the application went.",
        expected_output="A letter of three sentences",
        agent=clerk,
    )
    return Crew(name="onboarding", agents=[auditor, clerk], tasks=[check, account, welcome])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("application", type=Path)
    parser.add_argument("--llm", default="openai/gpt-4o", help="such as ollama/llama3.2")
    given = parser.parse_args()
    result = onboarding_crew(LLM(given.llm)).kickoff(
        {"application": given.application.read_text()},
        durable=DATABASE,
        run_id=f"onboarding-{given.application.stem}",  # one application is one piece of work
    )
    print(result)


if __name__ == "__main__":
    main()
