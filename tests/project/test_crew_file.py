"""Crews from one file: LLMs by name, policies, code by import path, and what is said when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oarlock import LLM, ChatLLM, ConfigurationError, Crew, LocalLLM
from oarlock.contract.policed import PolicedLLM
from oarlock.policies import Fallback, RateLimit, Retry
from oarlock.project import load_crew
from oarlock.testing import LoopbackEndpoint, ScriptedLLM, Status, require_bearer

SMALL = """
agents:
  poet: {role: Poet, goal: Rhyme}
tasks:
  line: {description: "A line about {topic}", agent: poet}
verbose: false
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose modules can be imported, and are forgotten afterwards."""
    search, modules = sys.path[:], set(sys.modules)
    yield tmp_path
    sys.path[:] = search
    for name in sys.modules.keys() - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def load(folder: Path, text: str, **given: Any) -> Crew:
    (folder / "crew.yaml").write_text(text)
    return load_crew(folder / "crew.yaml", **given)


def llm_of(folder: Path, llm: str) -> Any:
    return load(folder, f"llm: {llm}\n{SMALL}").agents[0].llm


# LLMs


def test_a_file_without_an_llm_says_so_where_the_local_model_is_not(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(
        ConfigurationError, match=r"crew.yaml names no llm, .*: LocalLLM needs .* as in llm: openai/gpt-4o"
    ):
        load(folder, SMALL)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("memory: true", r"crew.yaml, line 7: Crew\(memory=True\) is not in Oarlock: give an agent"),
        ("max_rpm: fast", "crew.yaml, line 7: Crew: max_rpm must be a whole number"),
        ("process: round", "crew.yaml, line 7: Crew: process must be"),
    ],
)
def test_what_is_wrong_with_the_crew_itself_is_said_with_its_line(folder, line, said):
    with pytest.raises(ConfigurationError, match=said):
        load(folder, f"{SMALL}{line}\n", llm=ScriptedLLM([]))


OWN = """
from oarlock import BaseLLM

class Gateway(BaseLLM):
    def call(self, messages):
        return "from the gateway"

gateway = Gateway()
"""


@pytest.mark.parametrize("head", ["llm: own_llms:gateway", "llms: {main: 'own_llms:gateway'}\nllm: main"])
def test_an_llm_of_ones_own_is_named_by_where_it_is_imported_from(folder, head):
    (folder / "own_llms.py").write_text(OWN)
    assert load(folder, f"{head}\n{SMALL}").kickoff({"topic": "boats"}).raw == "from the gateway"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("llm: own_llms:Gateway", r"line 1: llm: 'own_llms:Gateway' must be an LLM object.*ABCMeta"),
        ("llm: own_llms:gatewy", r"line 1: llm: own_llms has no 'gatewy'. Did you mean 'gateway'\?"),
        ("llm: mian\nllms: {main: 'own_llms:gateway'}", r"line 1: llm: there is no 'mian' here. Did you mean 'main'\?"),
    ],
)
def test_what_is_no_llm_of_ones_own_is_told_with_its_place(folder, head, said):
    (folder / "own_llms.py").write_text(OWN)
    with pytest.raises(ConfigurationError, match=said):
        load(folder, f"{head}\n{SMALL}")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("mistral/m", "LLM('mistral/m', base_url='https://api.mistral.ai/v1')"),
        ("{model: mistral/m, temperature: 0}", "LLM('mistral/m', base_url='https://api.mistral.ai/v1')"),
        ("{model: vllm/m, base_url: 'http://127.0.0.1:9'}", "LLM('vllm/m', base_url='http://127.0.0.1:9/v1')"),
        ("{model: m, base_url: 'http://127.0.0.1:9/v1'}", "ChatLLM(model='m', base_url='http://127.0.0.1:9/v1')"),
    ],
)
def test_llms_by_name(folder: Path, written: str, shown: str) -> None:
    assert repr(llm_of(folder, written)) == shown


def test_model_and_address_may_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_MODEL", "m")
    monkeypatch.setenv("OUR_URL", "http://127.0.0.1:9/v1")
    written = "{model: env:OUR_MODEL, base_url: env:OUR_URL}"
    assert repr(llm_of(folder, written)) == "ChatLLM(model='m', base_url='http://127.0.0.1:9/v1')"
    monkeypatch.setenv("OUR_MODEL", "mistral/m")
    assert repr(llm_of(folder, "env:OUR_MODEL")) == "LLM('mistral/m', base_url='https://api.mistral.ai/v1')"
    monkeypatch.delenv("OUR_URL")
    with pytest.raises(ConfigurationError, match=r"llm\.base_url: the environment variable OUR_URL is not set"):
        llm_of(folder, written)


@pytest.mark.parametrize("written", ["local/", "{temperature: 0}", "{model: local/}", "null"])
def test_local_llms(folder: Path, written: str) -> None:
    assert isinstance(llm_of(folder, written), LocalLLM)


def test_named_llms_are_shared_and_agents_have_their_own(folder: Path) -> None:
    crew = load(
        folder,
        """
llm: ollama/big
llms:
  fast: {model: ollama/small, temperature: 0}
agents:
  one: {role: One, goal: G, llm: fast}
  two: {role: Two, goal: G, llm: fast}
  three: {role: Three, goal: G, llm: groq/other}
  four: {role: Four, goal: G}
tasks:
  only: {description: D, agent: one}
manager_llm: fast
""",
    )
    one, two, three, four = (agent.llm for agent in crew.agents)
    assert one is two is crew.manager_llm
    assert [getattr(llm, "model", None) for llm in (one, three, four)] == ["small", "other", "big"]
    assert crew.verbose


def test_no_llm_is_made_that_nobody_needs(folder: Path) -> None:
    crew = load(folder, SMALL.replace("goal: Rhyme", "goal: Rhyme, llm: ollama/m"))
    assert isinstance(crew.agents[0].llm, LLM)


def test_another_llm_in_place_of_all(folder: Path) -> None:
    text = f"llm: openai/gpt-4o\nllms: {{fast: groq/m}}\n{SMALL}".replace("goal: Rhyme", "goal: Rhyme, llm: fast")
    assert load(folder, text, llm=ScriptedLLM(["Row."])).kickoff({"topic": "boats"}).raw == "Row."
    assert repr(load(folder, text, llm="ollama/m").agents[0].llm).startswith("LLM('ollama/m'")


# A key and policies, for real.


def test_a_key_from_the_environment_and_policies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "the-secret-key")
    with LoopbackEndpoint([Status(503), Status(503), "Row."], auth=require_bearer("the-secret-key")) as endpoint:
        llm = f"{{model: openai/m, base_url: '{endpoint.url}', api_key: 'env:MY_KEY', policies: [retry: {{attempts: 3, base_delay: 0}}]}}"
        crew = load(folder, f"llm: {llm}\n{SMALL}")
        assert crew.kickoff({"topic": "boats"}).raw == "Row."
        assert len(endpoint.requests) == 3


def test_policies_in_all_forms(folder: Path) -> None:
    llm = llm_of(
        folder,
        "{model: ollama/m, policies: [log, metrics: null, deadline: 30, concurrency: 4, rate_limit: {requests_per_minute: 60}, "
        "budget: {tokens: 1000}, cache: null, circuit_breaker: null, fallback: [groq/m, {model: xai/m}]]}",
    )
    assert isinstance(llm, PolicedLLM)
    kinds = [type(policy).__name__ for policy in llm.policies]
    assert sorted(kinds) == sorted(
        [
            "Log",
            "Metrics",
            "Deadline",
            "Concurrency",
            "RateLimit",
            "Budget",
            "Cache",
            "CircuitBreaker",
            "Fallback",
            "Retry",
        ]
    )
    by_kind = {type(policy): policy for policy in llm.policies}
    assert by_kind[RateLimit].requests_per_minute == 60  # type: ignore[attr-defined]
    assert len(by_kind[Fallback].llms) == 2  # type: ignore[attr-defined]
    assert by_kind[Retry].attempts == 3  # type: ignore[attr-defined]


# Code


TOOLS = '''
from pydantic import BaseModel
from oarlock import tool

@tool
def search(query: str) -> str:
    """Search."""
    return "found"

class Report(BaseModel):
    title: str

def noted(output):
    SEEN.append(output.raw)

def fine(output):
    return True, output.raw

def never(output):
    return False

SEEN = []
'''


def test_code_by_import_path(folder: Path) -> None:
    (folder / "crew_file_tools.py").write_text(TOOLS)
    crew = load(
        folder,
        """
llm: ollama/m
agents:
  poet: {role: Poet, goal: Rhyme, tools: ["crew_file_tools:search"]}
tasks:
  first:
    description: >
      A line
    callback: crew_file_tools:noted
    guardrail: crew_file_tools:fine
    tools: ["crew_file_tools:search"]
  second: {description: Another, context: [first], agent: poet}
  third: {description: Never, condition: "crew_file_tools:never"}
budget: {requests: 5}
verbose: false
""",
        llm=ScriptedLLM(["Row.", "Row again."]),
    )
    assert [tool.name for tool in crew.agents[0].tools] == ["search"]
    assert [task.name for task in crew.tasks] == ["first", "second", "third"]
    assert crew.tasks[0].description == "A line"
    assert crew.tasks[1].context == [crew.tasks[0]]
    result = crew.kickoff()
    assert [output.raw for output in result.tasks_output] == ["Row.", "Row again.", ""]
    assert sys.modules["crew_file_tools"].SEEN == ["Row."]


def test_a_module_that_fails_says_itself_why(folder: Path) -> None:
    (folder / "crew_file_broken.py").write_text("import no_such_module_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        load(folder, SMALL.replace("goal: Rhyme", "goal: Rhyme, tools: ['crew_file_broken:x']"))


# What is wrong.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("goal:", "gaol:"), r"crew\.yaml, line 3: agents\.poet\.gaol: Agent has no argument 'gaol'\. Did you mean 'goal'"),
        (("agent: poet", "agent: pote"), r"crew\.yaml, line 5: tasks\.line\.agent: there is no 'pote' here\. Did you mean 'poet'"),
        (("agent: poet", "agent: [poet]"), r"line 5: tasks\.line\.agent: there is no \['poet'\] here"),
        (("agent: poet", "agent: poet, context: line"), r"line 5: tasks\.line\.context must be a list, such as \[line\]"),
        (("agent: poet", "agent: poet, context: [x]"), r"tasks\.line\.context: there is no 'x' here\. There is nothing that it could be"),
        (("verbose", "verbos"), r"crew\.yaml, line 6: a crew's file has no argument 'verbos'\. Did you mean 'verbose'"),
        (("verbose: false", "process: circular"), r"crew\.yaml, line [0-9]+: Crew: process must be"),
        (("verbose: false", "budget: {tokns: 5}"), r"crew\.yaml, line 6: budget: "),
        (("verbose: false", "budget: 5"), r"line 6: budget must be a mapping"),
        (("goal: Rhyme", "goal: Rhyme, max_iter: 0"), r"line 3: agents\.poet: Agent 'Poet': max_iter must be"),
        (("goal: Rhyme", "goal: Rhyme, llm: opnai/gpt"), r"line 3: agents\.poet\.llm: LLM: there is no provider 'opnai'\. Did you"),
        (("goal: Rhyme", "goal: Rhyme, llm: 7"), r"agents\.poet\.llm must be a mapping"),
        (("goal: Rhyme", "goal: Rhyme, tools: [search]"), r"agents\.poet\.tools must say where to import it from"),
        (("goal: Rhyme", "goal: Rhyme, tools: ['no_such:x']"), r"agents\.poet\.tools: there is no module 'no_such'"),
        (("goal: Rhyme", "goal: Rhyme, tools: ['json:dmups']"), r"json has no 'dmups'\. Did you mean 'dumps'\?"),
        (("poet: {role: Poet, goal: Rhyme}", "poet: Poet"), r"line 3: agents\.poet must be a mapping"),
        (("verbose: false", "llm: {model: ollama/m, temprature: 0}"), r"line 6: llm: LLM has no argument 'temprature'"),
        (("verbose: false", "llm: {model: openai/m, api_key: sk-123}"), r"line 6: llm\.api_key is a secret and must say where"),
        (("verbose: false", "llm: {model: ollama/m, policies: retry}"), r"llm\.policies must be a list"),
        (("verbose: false", "llm: {model: ollama/m, policies: [rtry]}"), r"llm\.policies\[0\] is no policy: 'rtry'\. Did you mean 'retry'"),
        (("verbose: false", "llm: {model: ollama/m, policies: [7]}"), r"llm\.policies\[0\] must be a policy's name"),
        (("verbose: false", "llm: {model: ollama/m, policies: [retry: {attempts: 0}]}"), r"llm\.policies\[0\]: Retry: attempts"),
        (("verbose: false", "llm: {model: ollama/m, policies: [deadline: soon]}"), r"llm\.policies\[0\]: Deadline: seconds"),
        (("verbose: false", "llm: {model: ollama/m, policies: [fallback: groq/m]}"), r"fallback needs a list of LLMs"),
        (("verbose: false", "llm: {model: ollama/m, policies: [fallback: [7]]}"), r"fallback needs a list of LLMs, each"),
        (("verbose: false", "llm: {model: ollama/m, policies: [log: loud]}"), r"llm\.policies\[0\]: "),
        (("verbose: false", "llm: {model: ollama/m, policies: [retry, retry]}"), r"llm\.policies: "),
        (("verbose: false", "llm: {model: local/nope.gguf}"), r"there is no file nope\.gguf"),
        (("verbose: false", "tasks: {}"), r"line 6: tasks stands there twice; first in line 4"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(folder: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        load(folder, SMALL.replace(*change))
    assert str(caught.value).count("crew.yaml") == 1
    assert "sk-123" not in str(caught.value)


def test_a_gguf_file_beside_it(folder: Path) -> None:
    (folder / "model.gguf").write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match=r"model\.gguf is not a GGUF file"):
        llm_of(folder, "model.gguf")


def test_an_endpoint_keeps_its_class(folder: Path) -> None:
    assert type(llm_of(folder, "{model: m, base_url: 'http://127.0.0.1:9/v1'}")) is ChatLLM


def test_hooks_and_what_else_is_code(folder: Path) -> None:
    (folder / "my_hooks.py").write_text(
        "seen = []\n"
        "def watch(context):\n    seen.append(type(context).__name__)\n"
        "def count(text):\n    return text.split()\n"
        "def approve(request):\n    return True\n"
    )
    text = SMALL.replace(
        "goal: Rhyme}",
        "goal: Rhyme, before_llm_call: ['my_hooks:watch'], count_tokens: 'my_hooks:count', inject_date: true}",
    )
    text += "after_llm_call: ['my_hooks:watch']\non_approval: my_hooks:approve\n"
    crew = load(folder, text, llm=ScriptedLLM(["Row, row."]))
    crew.kickoff({"topic": "boats"})
    assert sys.modules["my_hooks"].seen == ["LLMCallHookContext"] * 2
    with pytest.raises(ConfigurationError, match=r"crew\.yaml, line 7: before_tool_call must be a list, such as"):
        load(folder, f"{SMALL}before_tool_call: my_hooks:watch\n")
