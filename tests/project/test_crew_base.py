"""`@CrewBase` classes with their YAML files, as CrewAI's users write them."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from oarlock import LLM, Agent, ConfigurationError, Crew, Task
from oarlock.compat import as_crewai
from oarlock.project import CrewBase, after_kickoff, agent, before_kickoff, callback, crew, llm, output_pydantic, task
from oarlock.project.crew_base import Configs
from oarlock.project.yaml_file import YamlFile, read_yaml
from oarlock.testing import ScriptedLLM

HERE = Path(__file__).parent / "latest_ai" / "crew.py"


@pytest.fixture
def module() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("latest_ai_crew", HERE)
    assert spec is not None
    assert spec.loader is not None
    with as_crewai(force=True):
        loaded = sys.modules["latest_ai_crew"] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(loaded)
            yield loaded
        finally:
            del sys.modules["latest_ai_crew"]


def test_a_class_of_crewais_template_runs_unchanged(
    module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # the files are found beside the class, wherever the program runs
    base = module.LatestAiDevelopmentCrew()
    result = base.crew().kickoff(inputs={"topic": "tides"})
    assert result.raw == "the report"
    assert base.seen == [("before", {"topic": "TIDES"}), ("task", "the report"), ("after", "the report")]
    first = module.MODEL.requests[0].messages
    assert "TIDES Senior Data Researcher" in first[0]["content"]
    assert "Conduct a thorough research about TIDES" in first[1]["content"]
    assert "ten facts" in module.MODEL.requests[1].messages[1]["content"]


def test_what_the_methods_make_is_made_once(module: Any) -> None:
    base = module.LatestAiDevelopmentCrew()
    assert base.agents == [base.researcher(), base.reporting_analyst()]
    assert base.tasks == [base.research_task(), base.reporting_task()]
    assert base.tasks[0].agent is base.agents[0]
    assert base.tasks[1].context == [base.tasks[0]]
    assert base.agents[0].llm is module.MODEL
    assert [one.name for one in base.agents[0].tools] == ["count_letters"]
    assert base.agents[1].role == "{topic} Reporting Analyst"
    assert base.crew() is base.crew()
    assert module.LatestAiDevelopmentCrew().agents[0] is not base.agents[0]


def test_a_crew_runs_many_times_at_once(module: Any) -> None:
    base = module.LatestAiDevelopmentCrew()

    async def main() -> list[Any]:
        runs = [base.crew().akickoff(inputs={"topic": topic}) for topic in ("a", "b")]
        return await asyncio.gather(*runs)

    assert [one.run_id for one in asyncio.run(main())] != []
    given = {"topic": "c"}
    base.crew().kickoff(inputs=given)
    assert given == {"topic": "c"}  # a hook changes a copy


def test_the_files_content_is_at_hand(module: Any) -> None:
    configs = module.LatestAiDevelopmentCrew().agents_config
    assert list(configs) == ["researcher", "reporting_analyst"]
    assert len(configs) == 2
    assert "researcher" in configs
    assert configs.get("nobody") is None
    assert configs.get("reporting_analyst")["role"] == "{topic} Reporting Analyst"
    assert "researcher, reporting_analyst" in repr(configs)


# Classes whose configuration is written in place.


def poets(agents: Any = None, tasks: Any = None) -> Any:
    @CrewBase
    class Poets:
        agents_config = agents if agents is not None else {"poet": {"role": "Poet", "goal": "Rhyme"}}
        tasks_config = tasks if tasks is not None else {"line": {"description": "A line", "agent": "poet"}}

        @llm
        def fast(self) -> Any:
            return ScriptedLLM(["Row.", "Row again."])

        @agent
        def poet(self) -> Agent:
            return Agent(config=self.agents_config["poet"])

        @task
        def line(self) -> Task:
            return Task(config=self.tasks_config["line"])

        @callback
        def noted(self, output: Any) -> None: ...

        @output_pydantic
        class Verse(BaseModel):
            words: int

        @crew
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks, manager_llm=self.fast())

    return Poets


def test_names_of_models_in_a_file() -> None:
    built = poets({"poet": {"role": "Poet", "goal": "Rhyme", "llm": "ollama/llama3.2"}})().poet()
    assert isinstance(built.llm, LLM)
    assert built.llm.model == "llama3.2"


def test_a_class_for_a_structured_answer() -> None:
    base = poets(tasks={"line": {"description": "A line", "agent": "poet", "output_pydantic": "Verse"}})()
    assert base.tasks_config["line"]["output_pydantic"] is type(base).Verse


@pytest.mark.parametrize(
    ("agents", "tasks", "said"),
    [
        ({"poet": {"role": "Poet", "gaol": "Rhyme"}}, None,
         r"Poets\.agents_config: poet\.gaol: Agent has no argument 'gaol'\. Did you mean 'goal'"),
        ({"poets": {}}, None, r"Poets\.agents_config: there is no 'poet'\. Did you mean 'poets'\?"),
        ({}, None, r"there is no 'poet'\. There are: none"),
        ({"poet": ["role"]}, None, r"Poets\.agents_config: poet must be a mapping of arguments"),
        ({"poet": {"role": "Poet", "goal": "G", "max_iter": 0}}, None, r"agents_config: poet: Agent 'Poet': max_iter must"),
        ({"poet": {"role": "Poet", "goal": "G", "llm": "gpt-4o"}}, None, "'gpt-4o' names no provider"),
        ({"poet": {"role": "Poet", "goal": "G", "tools": ["serch"]}}, None,
         r"poet\.tools: Poets has no @tool method 'serch'\. There are: none"),
        (None, {"line": {"description": "A line", "agent": "poit"}},
         r"Poets\.tasks_config: line\.agent: Poets has no @agent method 'poit'\. Did you mean 'poet'\?"),
        (None, {"line": {"description": "A line", "agent": "poet", "context": ["lines"]}}, r"Did you mean 'line'\?"),
        (None, {"line": {"description": "A line", "agent": "poet", "callback": "note"}}, r"Did you mean 'noted'\?"),
        (7, None, r"agents_config must be the path of a YAML file or a mapping, not of the type int"),
        ("no/such.yaml", None, r"Poets\.agents_config: .*such\.yaml cannot be read: No such file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(agents: Any, tasks: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        poets(agents, tasks)().crew()


def test_files_that_are_not_named_need_not_be_there() -> None:
    @CrewBase
    class Bare:
        @agent
        def poet(self) -> Agent:
            return Agent(role="Poet", goal="Rhyme", llm=ScriptedLLM(["Row."]))

        @task
        def line(self) -> Task:
            return Task(description="A line", agent=self.poet())

        @crew
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks)

    assert Bare().crew().kickoff().raw == "Row."
    assert list(Bare().agents_config) == []


def test_files_that_the_class_names_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("poet: {role: Poet, goal: Sing}\n")

    @CrewBase
    class Own:
        def __init__(self, path: Path) -> None:
            self.agents_config = path

        @agent
        def poet(self) -> Agent:
            return Agent(config=self.agents_config["poet"])  # type: ignore[index]

    assert Own(file).agents[0].goal == "Sing"


def test_a_derived_class() -> None:
    class More(poets()):  # type: ignore[misc]
        @agent
        def critic(self) -> Agent:
            return Agent(role="Critic", goal="Judge")

        @agent
        def poet(self) -> Agent:
            made: Agent = super().poet()
            assert made.role == "Poet"
            return Agent(role="Bard", goal="Sing")

    more = More()
    assert [one.role for one in more.agents] == ["Bard", "Critic"]
    assert more.tasks[0].agent is more.poet()


def test_hooks_may_answer_something_else_or_nothing() -> None:
    async def later(self: Any, result: Any) -> str:
        return f"{result.raw} later"

    class Hooked(poets()):  # type: ignore[misc]
        @before_kickoff
        def quiet(self, inputs: Any) -> None: ...

        @after_kickoff
        def silent(self, result: Any) -> None: ...

        after = after_kickoff(later)

    assert Hooked().crew().kickoff() == "Row. later"  # type: ignore[comparison-overlap]


def test_methods_that_make_the_wrong_thing() -> None:
    class Wrong(poets()):  # type: ignore[misc]
        @agent
        def poet(self) -> Any:
            return "Poet"

        @crew
        def crew(self) -> Any:
            return self.agents_config

    with pytest.raises(ConfigurationError, match=r"Wrong\.poet\(\) must return an Agent, not of the type str"):
        Wrong().agents
    with pytest.raises(ConfigurationError, match=r"Wrong\.crew\(\) must return a Crew, not of the type Configs"):
        Wrong().crew()


def test_a_mark_belongs_on_a_method() -> None:
    with pytest.raises(ConfigurationError, match="@agent marks a method, not 7"):
        agent(7)  # type: ignore[type-var]


def test_callbacks_that_make_the_function_to_call() -> None:
    seen: list[Any] = []

    @CrewBase
    class Poets:
        agents_config: ClassVar[Any] = {"poet": {"role": "Poet", "goal": "Rhyme", "step_callback": "steps"}}
        tasks_config: ClassVar[Any] = {"line": {"description": "A line", "agent": "poet", "callback": "done"}}

        @callback
        def steps(self) -> Any:
            return lambda step: seen.append(step.output)

        @callback
        def done(self, output: Any) -> None:
            seen.append(output)

        @agent
        def poet(self) -> Agent:
            return Agent(config=self.agents_config["poet"], llm=ScriptedLLM(["Row."]))

        @task
        def line(self) -> Task:
            return Task(config=self.tasks_config["line"])

        @crew
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks)  # type: ignore[attr-defined]

    made = Poets().crew()
    output = made.kickoff()
    assert seen == ["Row.", output.tasks_output[0]]
    assert made.name == "Poets"  # as it has none of its own


@pytest.mark.parametrize("inside_a_loop", [False, True])
def test_methods_may_be_coroutines(inside_a_loop: bool) -> None:
    @CrewBase
    class Poets:
        @agent
        async def poet(self) -> Agent:
            return Agent(role="Poet", goal="Rhyme", llm=ScriptedLLM(["Row."]))

        @task
        async def line(self) -> Task:
            return Task(description="A line", agent=self.poet())  # type: ignore[arg-type]

        @crew
        async def crew(self) -> Crew:
            return Crew(name="four", agents=self.agents, tasks=self.tasks)  # type: ignore[attr-defined]

    async def main() -> Any:
        return Poets().crew()

    made: Any = asyncio.run(main()) if inside_a_loop else Poets().crew()
    assert (made.kickoff().raw, made.name) == ("Row.", "four")


def test_a_method_with_arguments_is_not_remembered() -> None:
    class Made:
        @task
        def one(self, text: str = "D") -> Task:
            return Task(description=text)

    made = Made()
    assert made.one("A") is not made.one("A")
    assert made.one() is made.one()


def test_a_class_in_a_script_finds_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(HERE.parent, tmp_path / "project")
    script = tmp_path / "project" / "crew.py"
    with script.open("a") as file:
        file.write("\nprint(LatestAiDevelopmentCrew().crew().kickoff(inputs={'topic': 'tides'}))\n")
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "oarlock", "run", "project/crew.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "the report\n"), done.stderr


def test_a_class_without_a_file_looks_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("poet: {role: Poet, goal: Sing}\n")
    typed = type("Typed", (), {"agents_config": "mine.yaml", "__module__": "builtins"})
    assert CrewBase(typed)().agents_config["poet"]["goal"] == "Sing"


# The files themselves.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "line 1"),
        ("- a", "must be a mapping of names, not a list"),
        ("", "must be a mapping of names, not nothing"),
        ("1: a", "must be a mapping of names"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4: b.c stands there twice; first in line 3"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("a: &x {b: *x}", "nested|recursive|twice|unhashable|mapping"),
        ("[" * 2000, "nested too deeply"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    if text.startswith("a: &x"):  # a mapping within itself is legal, and harmless
        assert read_yaml(file).content["a"]["b"]["b"]
        return
    with pytest.raises(ConfigurationError, match=said):
        read_yaml(file)


def test_no_text_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigurationError, match="is not a text file in UTF-8"):
        read_yaml(tmp_path / "f.yaml")


def test_a_bomb_of_aliases_is_no_danger(tmp_path: Path) -> None:
    tens = [", ".join(f"k{n}: *a{level - 1}" for n in range(10)) for level in range(1, 40)]
    lines = ["a0: &a0 {x: 1}", *(f"a{level}: &a{level} {{{ten}}}" for level, ten in enumerate(tens, 1))]
    (tmp_path / "f.yaml").write_text("\n".join(lines))
    assert len(read_yaml(tmp_path / "f.yaml").lines) < 200_000


def test_places(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("# first\na:\n  b: 1\n\n  c: {d: 2}\n")
    file = read_yaml(tmp_path / "f.yaml")
    assert file.place("a", "c", "d") == f"{tmp_path}/f.yaml, line 5: a.c.d"
    assert file.below("a") == {"b": 3, "c": 5}
    assert file.place() == f"{tmp_path}/f.yaml"


def test_sections_name_their_lines(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("poet:\n  role: Poet\n  gaol: Rhyme\n")
    configs = Configs(object(), read_yaml(tmp_path / "f.yaml"))
    with pytest.raises(ConfigurationError, match=r"f\.yaml, line 3: poet\.gaol: Agent has no argument 'gaol'"):
        Agent(config=configs["poet"])
    assert isinstance(YamlFile(path=tmp_path, content={}, lines={}), YamlFile)
