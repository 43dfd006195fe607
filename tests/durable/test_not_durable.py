"""What is not durable pays nothing for it; what users are given to begin with can work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from oarlock.cli.worker import worker

ROOT = Path(__file__).parent.parent.parent


def test_an_ordinary_run_loads_none_of_it():
    program = """
import sys
from oarlock import Agent, Crew, Task
from oarlock.testing import ScriptedLLM
agent = Agent(role="Cox", goal="Row", llm=ScriptedLLM(["Hello"]))
print(Crew(agents=[agent], tasks=[Task(description="Say", agent=agent)]).kickoff())
print([name for name in sys.modules if name.startswith(("oarlock.durable", "dbos", "sqlalchemy", "psycopg"))])
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "Hello\n[]\n"


def test_the_message_without_the_extra_names_it():
    program = """
import sys
sys.modules["dbos"] = None
from oarlock import Agent, Crew, Task
from oarlock.errors import ConfigurationError
from oarlock.testing import ScriptedLLM
agent = Agent(role="Cox", goal="Row", llm=ScriptedLLM(["Hello"]))
crew = Crew(agents=[agent], tasks=[Task(description="Say", agent=agent)])
for door in (lambda: crew.kickoff(durable="sqlite:///runs.db"), lambda: crew.submit(database="sqlite:///runs.db")):
    try:
        door()
    except ConfigurationError as error:
        print(error)
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "Durable runs need an extra: pip install 'oarlock[durable]'.\n" * 2


def test_compose_starts_two_workers_with_options_that_there_are():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert set(services) == {"postgres", "redis", "worker"}
    assert services["worker"]["deploy"]["replicas"] == 2
    command = services["worker"]["command"][-1]
    assert "oarlock worker" in command
    assert "oarlock[durable,redis]" in command
    options = {word.removeprefix("--") for word in command.split() if word.startswith("--")} - {"quiet"}
    assert options <= set(worker.__annotations__)
