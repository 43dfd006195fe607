"""CrewAI's module paths: what is there is Oarlock's own; what is not says so."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oarlock
import oarlock.project
from oarlock import ConfigurationError
from oarlock.compat import NotInOarlockError, as_crewai, install_as_crewai, uninstall
from oarlock.compat.crewai import events, hooks
from oarlock.testing import ScriptedLLM

DERIVED = {"Agent", "Crew", "LLM", "Task"}  # Oarlock's with what scripts for CrewAI count on besides
PATHS = {
    "crewai": ["Agent", "BaseLLM", "Crew", "CrewOutput", "LLM", "Process", "Task", "TaskOutput"],
    "crewai.agent": ["Agent"],
    "crewai.agent.core": ["Agent"],
    "crewai.crew": ["Crew"],
    "crewai.crews": ["CrewOutput"],
    "crewai.crews.crew_output": ["CrewOutput"],
    "crewai.llm": ["BaseLLM", "LLM"],
    "crewai.llms.base_llm": ["BaseLLM"],
    "crewai.process": ["Process"],
    "crewai.task": ["Task"],
    "crewai.tasks": ["TaskOutput"],
    "crewai.tasks.task_output": ["TaskOutput"],
    "crewai.tools": ["BaseTool", "tool"],
    "crewai.tools.base_tool": ["BaseTool", "tool"],
}
SERVERS = {
    name: f"oarlock.mcp.{name.replace('Config', '')}"
    for name in ("MCPServerConfig", "MCPServerHTTP", "MCPServerSSE", "MCPServerStdio")
}
ELSEWHERE = {
    "crewai.agents": {name: f"oarlock.agents.outputs.{name}" for name in ("AgentAction", "AgentFinish")},
    "crewai.agents.agent_builder.base_agent": {"BaseAgent": "oarlock.Agent"},
    "crewai.agents.parser": {
        "AgentAction": "oarlock.agents.outputs.AgentAction",
        "AgentFinish": "oarlock.agents.outputs.AgentFinish",
    },
    "crewai.hooks": {name: f"oarlock.compat.crewai.hooks.{name}" for name in hooks.__all__},
    "crewai.mcp": {
        **SERVERS,
        **{
            name: f"oarlock.compat.crewai.mcp.filters.{name}"
            for name in ("StaticToolFilter", "create_static_tool_filter")
        },
    },
    "crewai.mcp.filters": {
        name: f"oarlock.compat.crewai.mcp.filters.{name}" for name in ("StaticToolFilter", "create_static_tool_filter")
    },
    "crewai.mcp.config": SERVERS,
    "crewai.lite_agent_output": {
        "LiteAgentOutput": "oarlock.compat.crewai.lite_agent_output.LiteAgentOutput",
    },
    "crewai.project.annotations": {
        name: f"oarlock.project.{name}" for name in oarlock.project.__all__ if name not in ("CrewBase", "load_crew")
    },
    "crewai.project.crew_base": {"CrewBase": "oarlock.project.CrewBase"},
    "crewai.project": {name: f"oarlock.project.{name}" for name in oarlock.project.__all__ if name != "load_crew"},
    "crewai.tasks.conditional_task": {
        "ConditionalTask": "oarlock.compat.crewai.tasks.conditional_task.ConditionalTask"
    },
    "crewai.tasks.llm_guardrail": {"LLMGuardrail": "oarlock.agents.guardrails.LLMGuardrail"},
    "crewai.tasks.output_format": {"OutputFormat": "oarlock.agents.outputs.OutputFormat"},
    "crewai.events": {name: f"oarlock.compat.crewai.events.{name}" for name in events.__all__},
    **{
        f"crewai.events.{home}": {
            name: f"oarlock.compat.crewai.events.{home}.{name}"
            for name in importlib.import_module(f"oarlock.compat.crewai.events.{home}").__all__
        }
        for home in (
            "base_event_listener",
            "base_events",
            "event_bus",
            "types.agent_events",
            "types.crew_events",
            "types.llm_events",
            "types.llm_guardrail_events",
            "types.task_events",
            "types.tool_usage_events",
        )
    },
    "crewai.types.streaming": {
        name: f"oarlock.agents.chunks.{name}"
        for name in ("CrewStreamingOutput", "StreamChunk", "StreamChunkType", "ToolCallChunk")
    },
    "crewai.types.usage_metrics": {"UsageMetrics": "oarlock.contract.reply.Usage"},
    "crewai.utilities": {"LLMContextLengthExceededError": "oarlock.ContextWindowExceededError"},
    "crewai.utilities.exceptions.context_window_exceeding_exception": {
        "LLMContextLengthExceededError": "oarlock.ContextWindowExceededError",
        "LLMContextLengthExceededException": "oarlock.ContextWindowExceededError",
    },
    "crewai.utilities.llm_utils": {
        name: f"oarlock.compat.crewai.utilities.llm_utils.{name}"
        for name in ("create_llm", "environment_llm", "with_llms")
    },
}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    uninstall()
    yield
    uninstall()


@pytest.fixture
def names() -> Iterator[None]:
    with as_crewai(force=True):
        yield


def at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", PATHS)
def test_paths(module: str, names: None) -> None:
    found = importlib.import_module(module)
    assert sorted(set(found.__all__) - {"__version__", "EnvVar", "LLMGuardrail", "OutputFormat", "Tool"}) == sorted(
        PATHS[module]
    )
    for name in PATHS[module]:
        ours = getattr(oarlock, name)
        assert getattr(found, name) is ours or (name in DERIVED and issubclass(getattr(found, name), ours))
    assert found is sys.modules[f"oarlock.compat.{module}"]


@pytest.mark.parametrize("module", ["decorators", "dispatch", "llm_hooks", "tool_hooks"])
def test_the_modules_of_hooks_have_what_the_package_has(module: str, names: None) -> None:
    found = importlib.import_module(f"crewai.hooks.{module}")
    for name in found.__all__:
        assert getattr(found, name) is getattr(hooks, {"clear_all": "clear_all_hooks"}.get(name, name))


@pytest.mark.parametrize("module", ELSEWHERE)
def test_paths_of_what_is_no_root_name(module: str, names: None) -> None:
    found = importlib.import_module(module)
    assert found.__all__ == list(ELSEWHERE[module])
    for name, home in ELSEWHERE[module].items():
        assert getattr(found, name) is at(home)


def test_every_module_is_listed_here() -> None:
    folder = Path(oarlock.__file__).parent / "compat" / "crewai"
    files = {file.relative_to(folder.parent).with_suffix("") for file in folder.rglob("*.py")}
    modules = {".".join(file.parts).removesuffix(".__init__") for file in files}
    of_hooks = {f"crewai.hooks.{name}" for name in ("decorators", "dispatch", "llm_hooks", "tool_hooks")}
    empty = {
        "crewai.agents.agent_builder",
        "crewai.events.types",
        "crewai.llms",
        "crewai.types",
        "crewai.utilities.exceptions",
    }
    assert modules == {*PATHS, *ELSEWHERE, *empty, *of_hooks}


def test_import_statements(names: None) -> None:
    namespace: dict[str, Any] = {}
    exec("import crewai, crewai.tools.base_tool as base\nfrom crewai import *\nfrom crewai import tools", namespace)
    assert issubclass(namespace["Agent"], oarlock.Agent)
    assert namespace["base"].BaseTool is oarlock.BaseTool
    assert namespace["tools"] is namespace["crewai"].tools
    assert "Agent" in dir(namespace["crewai"])


def test_the_modules_specs_stay_their_own(names: None) -> None:
    tools = importlib.import_module("crewai.tools")
    assert tools.__name__ == tools.__spec__.name == "oarlock.compat.crewai.tools"
    assert tools.__spec__.loader is tools.__loader__
    assert importlib.reload(tools) is tools


def test_the_version_names_both(names: None) -> None:
    import crewai  # type: ignore[import-not-found,unused-ignore]

    assert crewai.__version__ == f"1.15.17+oarlock.{oarlock.__version__}"


def test_pickles_name_oarlock(names: None) -> None:
    usage = importlib.import_module("crewai.types.usage_metrics").UsageMetrics(prompt_tokens=3)
    data = pickle.dumps(usage)
    assert b"crewai" not in data
    assert pickle.loads(data) == usage


# What is not there.


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("from crewai import Flow", "crewai.Flow is not in Oarlock: call crews from plain Python, or make"),
        ("from crewai.flow.flow import Flow, start", "crewai.flow is not in Oarlock: call"),
        ("import crewai.memory", "crewai.memory is not in Oarlock: give an agent"),
        ("from crewai.knowledge.source import string_knowledge_source", "crewai.knowledge is not in Oarlock"),
        ("from crewai import Knowledge", "crewai.Knowledge is not in Oarlock"),
        ("from crewai import Agnet", "crewai.Agnet is not in Oarlock: did you mean 'Agent'?"),
        ("from crewai.tools import tol", "crewai.tools.tol is not in Oarlock: did you mean 'tool'?"),
        ("from crewai.types import hitl", "crewai.types.hitl is not in Oarlock."),
        ("from crewai.events import FlowStartedEvent", "crewai.events.FlowStartedEvent is not in Oarlock"),
        ("from crewai import zzz", "crewai.zzz is not in Oarlock: crewai has Agent, BaseLLM, "),
        ("from crewai_tools import SerperDevTool", "crewai_tools.SerperDevTool is not in Oarlock: write a function"),
        ("from crewai_tools.aws.s3 import S3ReaderTool", "crewai_tools.aws is not in Oarlock: write a function"),
        ("from crewai_files import PDFFile", "crewai_files is not in Oarlock: give the agent a tool that reads"),
        ("from crewai.agent import LiteAgent", "crewai.agent.LiteAgent is not in Oarlock: use Agent"),
        ("from crewai.events import MemorySaveStartedEvent", "is not in Oarlock: give an agent what it should know"),
        (
            "from crewai.events import LiteAgentExecutionStartedEvent",
            r"is not in Oarlock: agent\.stream\(prompt\) tells",
        ),
        ("from crewai.events import TaskStartdEvent", "is not in Oarlock: did you mean 'TaskStartedEvent'?"),
        (
            "from crewai.events import BoatLaunchedEvent",
            r"is not in Oarlock: kickoff\(on_event=\.\.\.\) and crew\.stream",
        ),
        ("from crewai.project import load_agent", "is not in Oarlock: oarlock.project.load_crew reads"),
        ("from crewai.project import cache_handler", "is not in Oarlock: a tool says with cache_function"),
        ("from crewai.utilities import Printer", "is not in Oarlock: it is of CrewAI's insides"),
        ("from crewai.task import Taks", "crewai.task.Taks is not in Oarlock: did you mean 'Task'?"),
    ],
)
def test_what_is_missing(statement: str, words: str, names: None) -> None:
    with pytest.raises(NotInOarlockError, match=words.replace("?", r"\?")) as caught:
        exec(statement)
    assert isinstance(caught.value, ModuleNotFoundError)  # so that probing imports work


def test_attributes_that_are_missing(names: None) -> None:
    module = importlib.import_module("crewai")
    assert not hasattr(module, "Flow")
    with pytest.raises(AttributeError, match=r"crewai\.Flow is not in Oarlock: call"):
        module.Flow


@pytest.mark.parametrize(
    ("of", "name", "words"),
    [
        ("Crew", "from_checkpoint", r"kickoff\(durable=\.\.\., run_id=\.\.\.\) records a run"),
        ("Crew", "train", "run the crew on your examples"),
        ("Crew", "kickof", "did you mean 'kickoff'"),
        ("Agent", "fingerprint", "every run and call has an id"),
        ("Task", "execute_sync", r"agent.execute_task\(task\) does one task"),
        ("Task", "prompt_context", "crewai.Task.prompt_context is not in Oarlock.$"),
        ("LLM", "get_token_usage_summary", "each reply its own"),
    ],
)
def test_what_classes_and_their_objects_have_not(of: str, name: str, words: str, names: None) -> None:
    cls: Any = getattr(importlib.import_module("crewai"), of)
    given = {
        "Agent": {"role": "R", "goal": "G"},
        "Crew": {},
        "LLM": {"model": "openai/gpt-4o", "api_key": "k"},
        "Task": {"description": "D"},
    }
    for thing in (cls, cls(**given[of])):
        with pytest.raises(AttributeError, match=words):
            getattr(thing, name)
        assert not hasattr(thing, "__of_nobody__")


def test_probing_imports_work(names: None) -> None:
    namespace: dict[str, Any] = {}
    exec("try:\n    from crewai.flow.flow import Flow\nexcept ImportError:\n    Flow = None", namespace)
    assert namespace["Flow"] is None


def test_other_modules_are_not_touched(names: None) -> None:
    assert importlib.util.find_spec("json") is not None
    with pytest.raises(ModuleNotFoundError, match="No module named 'crewaix'"):
        importlib.import_module("crewaix")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'oarlock\.compat\.nothing'"):
        importlib.import_module("oarlock.compat.nothing")


def test_a_companion_package_that_is_there_is_used(
    names: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crewai_tools.py").write_text("HERE = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert importlib.import_module("crewai_tools").HERE
    finally:
        sys.modules.pop("crewai_tools", None)


# Installing and uninstalling.


def ours() -> list[Any]:
    return [finder for finder in sys.meta_path if type(finder).__module__ == "oarlock.compat.install"]


def test_installing_twice_is_installing_once() -> None:
    assert install_as_crewai(force=True)
    assert install_as_crewai()
    assert len(ours()) == 1
    uninstall()
    uninstall()
    assert ours() == []


def test_uninstalling_leaves_nothing() -> None:
    before = list(sys.meta_path)
    with as_crewai(force=True) as installed:
        assert installed
        module = importlib.import_module("crewai.tools")
    assert sys.meta_path == before
    assert [name for name in sys.modules if name.partition(".")[0] == "crewai"] == []
    assert module.tool is oarlock.tool
    with as_crewai(force=True):
        assert importlib.import_module("crewai.tools") is module


def test_the_block_leaves_an_outer_installation_alone() -> None:
    install_as_crewai(force=True)
    with as_crewai():
        pass
    assert len(ours()) == 1


def test_installing_from_many_threads() -> None:
    results: list[Any] = []
    gate = threading.Barrier(16)

    def work() -> None:
        gate.wait()
        install_as_crewai(force=True)
        results.append(importlib.import_module("crewai.crews.crew_output").CrewOutput)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) == {oarlock.CrewOutput}
    assert len(results) == 16
    assert len(ours()) == 1


# create_llm


def create_llm(value: Any) -> Any:
    return at("oarlock.compat.crewai.utilities.llm_utils.create_llm")(value)


def test_create_llm_returns_what_it_is_given() -> None:
    llm = ScriptedLLM(["Hello"])
    assert create_llm(llm) is llm


def test_create_llm_takes_a_name_with_its_provider() -> None:
    assert repr(create_llm("mistral/m")) == "LLM('mistral/m', base_url='https://api.mistral.ai/v1')"


def test_create_llm_takes_the_name_that_a_provider_alone_has() -> None:
    assert repr(create_llm("gpt-4o")) == "LLM('openai/gpt-4o', base_url='https://api.openai.com/v1')"
    assert create_llm({"model": "claude-sonnet-4-5", "temperature": 0.5}).provider == "anthropic"


@pytest.mark.parametrize("variable", ["MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME"])
def test_create_llm_takes_what_the_environment_names(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "mistral/m")
    assert repr(create_llm(None)) == "LLM('mistral/m', base_url='https://api.mistral.ai/v1')"
    monkeypatch.setenv(variable, "some-model")
    with pytest.raises(
        ConfigurationError, match=f"the environment variable {variable}: 'some-model' names no provider"
    ):
        create_llm(None)


@pytest.mark.parametrize("value", [None, "llama3", "gpt-oss-120b", "", ScriptedLLM, {"name": "gpt-4o"}, 7])
def test_create_llm_makes_nothing_up(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-used-at-all")
    for variable in ("MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigurationError, match="create_llm") as caught:
        create_llm(value)
    if value is not ScriptedLLM and not isinstance(value, str):
        assert "ChatLLM(model, base_url, auth=...)" in str(caught.value)
