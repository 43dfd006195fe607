"""`benchmarks/foreign_scripts.py`: what it makes of a page, and how it tells one end from another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[2] / "benchmarks" / "foreign_scripts.py"

PAGE = """
# A page

```python Code
from crewai import Agent, Crew, Task

poet = Agent(role="Poet", goal="Rhyme", backstory="Born on a boat.", llm="gpt-4o")
line = Task(description="A line", expected_output="A line", agent=poet)
```

It goes on:

```python
crew = Crew(agents=[poet], tasks=[line])
assert "AI agents" in crew.kickoff().raw
```

    ```python
    task = Task(description="More", expected_output="More", agent=somebody)
    ```

```python
from crewai_tools import SearchEverythingTool
agent = Agent(role="Scout", goal="Look", backstory="", tools=[SearchEverythingTool()])
print(agent.kickoff("Look around").raw)
```

```python
from crewai import Flow
```

```python
from crewai import Agent
import surely_not_installed_here
```

```python
from crewai import Agent
import urllib.request
urllib.request.urlopen("https://example.com")
```

```python
from crewai import Agent
open("notes-of-the-reader.txt")
```

```python
print(unknown_name, crewai)
```

```python
from crewai import Agent
Agent(role="Poet")
```

```python
agent = Agent(role="...
```

```python
print("nothing of CrewAI's")
```

```yaml agents.yaml
poet:
  role: Poet
  goal: Rhyme
  backstory: Born on a boat.
```

```python
from crewai.project import CrewBase, agent
@CrewBase
class Poets:
    @agent
    def poet(self):
        return Agent(config=self.agents_config["poet"])

async def roles():
    return [agent.role for agent in Poets().agents]

assert await roles() == ["Poet"]
```

```python
from crewai.hooks import before_llm_call

@before_llm_call
def watch(context):
    print(context.iterations)
```

```python
picky = Task(description="Never", expected_output="Right", guardrail=lambda output: (False, "not good enough"))
```

```python
from crewai.project import CrewBase, crew
@CrewBase
class Rowers:
    @crew
    def crew(self):
        return Crew(tasks=[Task(description="Row", expected_output="Rowed", agent=poet)])
```
"""
EXPECTED = [
    ("runs", ""),
    ("runs", ""),
    ("runs with an agent, task, tool or LLM that its page leaves out", "somebody"),
    ("runs with stand-ins for other people's tools", "crewai_tools.SearchEverythingTool"),
    ("uses what Oarlock leaves out", "crewai.Flow is not in Oarlock"),
    ("needs a third-party package", "surely_not_installed_here"),
    ("needs a service", "example.com"),
    ("needs something of the reader's", "notes-of-the-reader.txt"),
    ("cannot be run by anybody", "crewai, unknown_name"),
    ("our failure", "Agent needs the argument goal"),
    ("cannot be run by anybody", "no complete Python"),
    ("has no CrewAI in it", ""),
    ("runs", ""),
    ("runs", ""),
    ("runs", ""),
    ("runs", ""),
]
USED = [(1, "task"), (1, ""), (1, "task"), (2, "")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, str]], str]:
    """Return every outcome, and what was printed."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "pages").mkdir()
    (folder / "pages" / "page.mdx").write_text(PAGE, encoding="utf-8")
    project = folder / "pages" / "poets" / "src" / "poets"
    project.mkdir(parents=True)
    (project.parents[1] / "README.md").write_text("# Poets\n")
    (project / "__init__.py").write_text("")
    (project / "words.py").write_text("ROLE = 'Poet'\n")
    (project / "main.py").write_text(
        "from crewai import Agent\nfrom poets.words import ROLE\n\n"
        "def run():\n    assert Agent(role=ROLE, goal='Rhyme', backstory='').kickoff('A line').raw\n"
    )
    results = folder / "results.json"
    command = [sys.executable, str(HARNESS), str(folder / "pages"), "--json", str(results)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "COVERAGE_PROCESS_START": ""},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(results.read_text(encoding="utf-8")), done.stdout


@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_what_becomes_of_each_block(number: int, told: tuple[list[dict[str, str]], str]) -> None:
    outcome = told[0][number]
    kind, reason = EXPECTED[number]
    assert (outcome["name"], outcome["kind"]) == (f"page#{number + 1}", kind), outcome["detail"]
    assert reason in outcome["reason"]


def test_models_are_asked_whatever_provider_is_named(told: tuple[list[dict[str, str]], str]) -> None:
    assert [(outcome["requests"], outcome["used"]) for outcome in told[0]][:4] == USED


def test_what_a_block_has_built_is_used(told: tuple[list[dict[str, str]], str]) -> None:
    hook, picky, rowers = told[0][13:16]
    assert (hook["requests"], hook["used"]) == (2, "hook")
    assert (picky["requests"], picky["used"]) == (4, "")
    assert picky["failed_when_used"].startswith("our failure: GuardrailError: Task 'Never'")
    assert (rowers["requests"], rowers["used"]) == (1, "crew")


def test_a_project_runs_in_a_copy_of_its_folder(told: tuple[list[dict[str, str]], str]) -> None:
    outcome = told[0][len(EXPECTED)]
    assert (outcome["name"], outcome["kind"], outcome["requests"]) == ("poets/src/poets/main.py", "runs", 1)


def test_the_table(told: tuple[list[dict[str, str]], str]) -> None:
    assert "| runs | 7 | 3 | 3 |\n" in told[1]
    assert "| our failure | 1 | 0 | 0 |\n" in told[1]
    assert "needs a service: example.com (1): page#7\n" in told[1]
