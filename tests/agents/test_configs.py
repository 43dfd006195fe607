"""Agents and tasks made of mappings, and LLMs by name."""

import pytest

from oarlock import LLM, Agent, ConfigurationError, Crew, Task
from oarlock.agents.located import Located
from oarlock.testing import ScriptedLLM

CONFIG = Located(
    {"role": "Poet", "goal": "Rhyme", "backstory": "Born on a boat."},
    "agents.yaml",
    "poet",
    {"": 1, "role": 2, "rol": 5},
)


def test_an_agent_made_of_a_mapping():
    llm = ScriptedLLM(["Row."])
    agent = Agent(config=CONFIG, goal="Sing", backstory=None, llm=llm)
    assert (agent.role, agent.goal, agent.backstory, agent.llm) == ("Poet", "Sing", "Born on a boat.", llm)
    assert agent.kickoff("A line").raw == "Row."


def test_a_task_made_of_a_mapping():
    agent = Agent(config=dict(CONFIG))
    task = Task(config={"description": "A line", "expected_output": "One", "agent": agent})
    assert (task.description, task.agent) == ("A line", agent)


@pytest.mark.parametrize("kind", [Agent, Task])
def test_no_mapping_is_no_matter(kind):
    arguments = {"role": "R", "goal": "G"} if kind is Agent else {"description": "D"}
    assert kind(config=None, **arguments)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Agent(config=Located({**CONFIG, "rol": "R"}, "agents.yaml", "poet", CONFIG.lines)),
         r"^agents.yaml, line 5: poet.rol: Agent has no argument 'rol'. Did you mean 'role'"),
        (lambda: Agent(config=Located({"role": "Poet"}, "agents.yaml", "poet")), r"^agents.yaml: poet: Agent needs the argument goal"),
        (lambda: Agent(config=Located({**CONFIG, "max_iter": 0}, "agents.yaml", "poet", CONFIG.lines)),
         r"^agents.yaml, line 1: poet: Agent 'Poet': max_iter must be"),
        (lambda: Agent(config={**CONFIG, "max_iter": 0}), "^config: Agent 'Poet': max_iter must be"),
        (lambda: Agent(config={**CONFIG, "llm": "gpt-4"}), r"Agent\(llm='gpt-4'\): 'gpt-4' names no provider"),
        (lambda: Agent(config="poet"), "Agent: config must be a mapping of argument names, not a str"),
        (lambda: Task(config=[]), "Task: config must be a mapping of argument names, not a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(build, said):
    with pytest.raises(ConfigurationError, match=said):
        build()


def test_llms_by_name():
    agent = Agent(role="R", goal="G", llm="openai/gpt-4o")
    assert isinstance(agent.llm, LLM)
    assert agent.llm.provider == "openai"
    crew = Crew(tasks=[Task(description="D", agent=agent)], manager_llm="ollama/llama3.2")
    assert repr(crew.manager_llm) == "LLM('ollama/llama3.2', base_url='http://127.0.0.1:11434/v1')"
