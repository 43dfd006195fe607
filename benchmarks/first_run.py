"""CPU milliseconds from a new interpreter to the first answer of a crew over HTTP, against a bare client's first answer."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from _measure import children_cpu_seconds, compiled_modules, loopback_server, medians, print_costs

ANSWER = "The answer is 42."

BARE = """
import json, sys
from pyreqwest.client import SyncClientBuilder
body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "What is 40 + 2?"}]}).encode()
with SyncClientBuilder().build() as client:
    answer = client.post(sys.argv[1] + "/chat/completions").body_bytes(body).build().send().bytes()
print(json.loads(bytes(answer))["choices"][0]["message"]["content"])
"""

CALL = """
import sys
from oarlock import ChatLLM
from oarlock.auth import ApiKey
print(ChatLLM("m", sys.argv[1], auth=ApiKey("k")).call("What is 40 + 2?"))
"""

CREW = """
import sys
from oarlock import Agent, ChatLLM, Crew, Task
from oarlock.auth import ApiKey
agent = Agent(role="Clerk", goal="Answer correctly", llm=ChatLLM("m", sys.argv[1], auth=ApiKey("k")))
print(Crew(tasks=[Task(description="What is 40 + 2?", agent=agent)]).kickoff())
"""

TOOL = """
import sys
from oarlock import Agent, ChatLLM, Crew, Task, tool
from oarlock.auth import ApiKey
@tool
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
agent = Agent(role="Clerk", goal="Answer correctly", llm=ChatLLM("m", sys.argv[1], auth=ApiKey("k")), tools=[add])
print(Crew(tasks=[Task(description="What is 40 + 2?", agent=agent)]).kickoff())
"""


def case(program: str, url: str, environment: dict[str, str]) -> Callable[[], int]:
    """Return a case that runs a program in a new interpreter."""

    def run() -> int:
        command = [sys.executable, "-c", program, url]
        output = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout
        assert output.strip() == ANSWER
        return 1

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, metavar="N", help="interpreters a case")
    options = parser.parse_args()
    with compiled_modules() as environment, loopback_server("--mode", "tool") as tools, loopback_server() as url:
        programs = {
            "bare interpreter": (f"print({ANSWER!r})", url),
            "bare pyreqwest, one call": (BARE, url),
            "ChatLLM, one call": (CALL, url),
            "crew of one task": (CREW, url),
            "crew with one tool": (TOOL, tools),
        }
        cases = {name: case(program, where, environment) for name, (program, where) in programs.items()}
        costs = medians(cases, repeats=options.repeats, clock=children_cpu_seconds)
    print_costs("The first answer", costs, unit="CPU ms", factor=1e3, against="bare pyreqwest, one call")


if __name__ == "__main__":
    main()
