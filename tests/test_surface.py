"""The public surface, reviewed by the test run."""

import ast
import dataclasses
import doctest
import importlib
import inspect
import json
import math
import pkgutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import oarlock
from oarlock.runtime import Runtime
from oarlock.testing import LoopbackEndpoint

SOURCE = Path(oarlock.__file__).parent
PUBLIC_MODULES = [
    "oarlock",
    "oarlock.auth",
    "oarlock.durable",
    "oarlock.errors",
    "oarlock.policies",
    "oarlock.project",
    "oarlock.report",
    "oarlock.serve",
    "oarlock.telemetry",
    "oarlock.tools",
    "oarlock.testing",
    "oarlock.testing.faults",
    "oarlock.compat",
    "oarlock.views",
]
ADAPTERS = {  # need the frameworks that they are for: see tests/interop
    f"oarlock.compat.interop.{name}" for name in ("crewai", "langchain", "openai_agents", "pydantic_ai")
}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(SOURCE)], "oarlock.")
    if not module.name.startswith("oarlock.compat.crewai") and module.name not in ADAPTERS
)


def test_the_root_stays_small():
    assert len(oarlock.__all__) <= 40


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_every_public_name_is_there_and_documented(name):
    module = importlib.import_module(name)
    assert module.__all__ == list(dict.fromkeys(module.__all__))
    for public in module.__all__:
        value = getattr(module, public)
        if not public.startswith("__") and (inspect.isclass(value) or inspect.isfunction(value)):
            assert inspect.getdoc(value), f"{name}.{public} has no docstring"
            assert public in dir(module)


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_public_methods_are_documented(name):
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        if not inspect.isclass(value):
            continue
        for method, function in inspect.getmembers(value, inspect.isfunction):
            if (
                not method.startswith("_")
                and not hasattr(Runtime, method)
                and function.__module__.startswith("oarlock")
            ):
                assert inspect.getdoc(getattr(value, method)), f"{name}.{public}.{method} has no docstring"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Agnet'"):
        _ = oarlock.Agnet


def test_importing_oarlock_imports_nothing_heavy_and_connects_nowhere():
    heavy = ["pydantic", "pyreqwest", "httpx2", "httpx", "typer", "rich", "yaml", "asyncio", "requests", "socket"]
    program = f"""
import sys
hits = []
sys.addaudithook(lambda event, args: hits.append(event) if event.startswith("socket.") else None)
import oarlock, json
print(json.dumps([hits, [name for name in {heavy!r} if name in sys.modules]]))
"""
    shown = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, cwd=SOURCE.parent
    )
    assert json.loads(shown.stdout) == [[], []]


def test_a_run_connects_to_nothing_but_the_endpoint_that_was_named():
    """Watched by an audit hook: names looked up and addresses connected to, by a custom LLM's run and a ready one's."""
    program = """
import json, sys

reached = []

def watch(event, args):
    if event in ("socket.connect", "socket.sendto"):
        reached.append(list(args[1]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "http.client.connect"):
        reached.append([event, *map(str, args)])

sys.addaudithook(watch)
from oarlock import Agent, BaseLLM, ChatLLM, Crew, Task, tool

@tool
def add(a: int, b: int) -> int:
    'Add two numbers.'
    return a + b

class Custom(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None):
        return "An answer."

for llm in (Custom(), ChatLLM("m", sys.argv[1], transport="httpx2")):
    agent = Agent(role="R", goal="G", backstory="B", llm=llm, tools=[add], verbose=True)
    Crew(agents=[agent], tasks=[Task(description="D", agent=agent)], verbose=True).kickoff()
print(json.dumps(reached))
"""
    with LoopbackEndpoint("Hello.") as endpoint:
        shown = subprocess.run(
            [sys.executable, "-c", program, endpoint.url], capture_output=True, text=True, check=True, timeout=60
        )
        port = urlsplit(endpoint.url).port
    reached = json.loads(shown.stdout.splitlines()[-1])
    lookups = [one for one in reached if one[0] == "socket.getaddrinfo"]
    assert [address for address in reached if address not in lookups] == [["127.0.0.1", port]]
    assert all(host == "127.0.0.1" for _, host, *_ in lookups)


def test_building_a_crew_imports_neither_http_client_nor_command_line():
    program = """
import sys
from oarlock import Agent, BaseLLM, ChatLLM, Crew, Task
llm = ChatLLM("m", "https://llm.example.com/v1")
agent = Agent(role="R", goal="G", backstory="B", llm=llm)
Crew(agents=[agent], tasks=[Task(description="D", agent=agent)])
print([name for name in ("pyreqwest", "httpx2", "httpx", "typer", "rich", "yaml", "pydantic") if name in sys.modules])
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    names = {"json": json, "math": math, "dataclasses": dataclasses, **vars(oarlock), "HttpLLM": oarlock.HttpLLM}
    globs = {**names, **{public: getattr(oarlock, public) for public in oarlock.__all__}, **vars(module)}
    failures, _ = doctest.testmod(module, globs=globs, optionflags=doctest.ELLIPSIS)
    assert failures == 0


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_code_is_made_of_data(path):
    """No eval, exec, pickle, marshal or unsafe YAML anywhere."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{path}:{node.lineno}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "marshal", "shelve", "dill"}, f"{path}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml":
            assert node.attr in {"safe_load", "compose", "SafeLoader", "YAMLError"}, f"{path}:{node.lineno}"
