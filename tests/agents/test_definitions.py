"""What is said about wrong arguments, before anything runs."""

import re

import pytest

from oarlock import Agent, ConfigurationError, Crew, Task, tool
from oarlock.testing import ScriptedLLM

GOOD_AGENT = {"role": "R", "goal": "G", "backstory": "B"}


@tool
def one_tool(text: str) -> str:
    """Say it again."""
    return text


def lambda_tool(text: str) -> str:
    """Say something else."""
    return text


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Agent(**GOOD_AGENT, rol="x"), "Agent has no argument 'rol'. Did you mean 'role'?"),
        (lambda: Agent(**GOOD_AGENT, verbos=True), "Did you mean 'verbose'?"),
        (lambda: Agent(**GOOD_AGENT, zzz=True), "It takes: "),
        (lambda: Agent("R", "G"), "Agent takes keyword arguments only"),
        (lambda: Agent(goal="G", backstory="B"), "Agent needs the argument role."),
        (lambda: Agent(role=" ", goal="G"), "role must be a non-empty text, not ' '"),
        (lambda: Agent(role="R", goal=3), "Agent 'R': goal must be a non-empty text, not 3"),
        (
            lambda: Agent(**GOOD_AGENT, llm="gpt-4"),
            "Agent(llm='gpt-4'): 'gpt-4' names no provider. Write 'provider/model'",
        ),
        (
            lambda: Agent(**GOOD_AGENT, llm=ScriptedLLM),
            "llm is the class ScriptedLLM; pass an object: ScriptedLLM(...)",
        ),
        (lambda: Agent(**GOOD_AGENT, llm=object()), "of the type object"),
        (lambda: Agent(**GOOD_AGENT, max_iter=0), "max_iter must be a whole number of at least 1, not 0"),
        (lambda: Agent(**GOOD_AGENT, max_iter=True), "max_iter must be a whole number"),
        (lambda: Agent(**GOOD_AGENT, tools=["search"]), "Agent 'R': "),
        (lambda: Agent(**GOOD_AGENT, tools=[one_tool, tool("one_tool")(lambda_tool)]), "one_tool"),
        (
            lambda: Agent(**GOOD_AGENT, memory=True),
            "Agent(memory=True) is not in Oarlock: give an agent what it should know",
        ),
        (lambda: Task(description=""), "description must be a non-empty text"),
        (lambda: Task(expected_output="x"), "Task needs the argument description."),
        (lambda: Task(description="D", agnet=None), "Did you mean 'agent'?"),
        (lambda: Task(description="D", agent="R"), "agent must be an Agent, not of the type str"),
        (lambda: Task(description="D", context=["x"]), "context must be a list of tasks"),
        (
            lambda: Task(description="D", callback=lambda: None),
            "Task 'D': callback must take one argument, the TaskOutput.",
        ),
        (lambda: Task(description="D", context=["A"]), "Task 'D': context must be a list of tasks, and holds a str."),
        (lambda: Agent(**GOOD_AGENT, step_callback=lambda: None), "step_callback must take one argument, the step."),
        (
            lambda: Crew(tasks=[_task()], on_human_input=lambda: ""),
            "on_human_input must take one argument, the TaskOut",
        ),
        (
            lambda: Crew(tasks=[_task()], before_kickoff_callbacks=[lambda: {"a": 1}]),
            "<lambda> must take one argument, the inputs.",
        ),
        (lambda: Task(description="D", guardrail=3), "a guardrail must be a function that takes the TaskOutput"),
        (lambda: Task(description="D", guardrail=" "), "a guardrail in words must say something"),
        (lambda: Task(description="D", guardrails=[lambda: 1]), "must take one argument, the TaskOutput"),
        (lambda: Task(description="D", guardrail_max_retries=-1), "guardrail_max_retries"),
        (lambda: Task(description="D", output_pydantic=dict), "must be a class derived from pydantic.BaseModel"),
        (lambda: Task(description="D", output_json={"a": 1}), "output_json must be a class derived from pydantic"),
        (lambda: Task(description="D", output_max_repairs=True), "output_max_repairs"),
        (lambda: Task(description="D", human_input="yes"), "human_input"),
        (lambda: Task(description="D", output_file=""), "output_file must be a path"),
        (lambda: Crew(agents=[], tasks=[]), "there are no tasks"),
        (lambda: Crew(agents=[]), "Crew needs the argument tasks."),
        (lambda: Crew(tasks=["x"]), "tasks must be a list of Task objects, and holds a str"),
        (lambda: Crew(agents=["x"], tasks=[Task(description="D")]), "agents must be a list of Agent objects"),
        (lambda: Crew(tasks=[Task(description="D")]), "task 'D' has no agent. Pass Task(agent=...)"),
        (
            lambda: Crew(tasks=[_task()], process="parallel"),
            "process must be Process.sequential or Process.hierarchical, not 'parallel'",
        ),
        (lambda: Crew(tasks=[_task()], manager_llm="gpt-4"), "Crew(manager_llm='gpt-4'): 'gpt-4' names no provider"),
        (lambda: Crew(tasks=[_task()], planning=True), "not in Oarlock: write the plan as tasks"),
        (lambda: Crew(tasks=[_task()], proces=1), "Did you mean 'process'?"),
        (lambda: Crew(tasks=[(same := _task()), same]), "stands in the list twice"),
        (lambda: Crew(tasks=[_task(context=[_task()])]), "which is not among the crew's tasks. Add it to tasks"),
    ],
)
def test_a_wrong_argument_is_told_at_once(build, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        build()


def _task(**settings) -> Task:
    return Task(description="D", agent=Agent(**GOOD_AGENT), **settings)


def test_what_only_switches_off_is_accepted():
    agent = Agent(**GOOD_AGENT, memory=False, allow_delegation=False, cache=True, max_rpm=None)
    task = Task(description="D", agent=agent, async_execution=False, human_input=False)
    Crew(agents=[agent], tasks=[task], memory=False, cache=True, planning=False)


def test_a_configuration_error_is_a_value_error():
    with pytest.raises(ValueError, match="role"):
        Agent(role="", goal="G")


def test_building_needs_no_key_and_no_network():
    Crew(agents=[Agent(**GOOD_AGENT)], tasks=[_task()])


def test_lists_given_are_copied():
    tools = [one_tool]
    agent = Agent(**GOOD_AGENT, tools=tools)
    tools.clear()
    assert agent.tools == [one_tool]


def test_a_task_is_named_by_its_description():
    assert Task(description="Research\nin depth").name == "Research"
    assert len(Task(description="x" * 100).name or "") == 60
    assert Task(description="Research", name="mine").name == "mine"


def test_agents_can_be_subclassed_with_arguments_of_their_own():
    class Poet(Agent):
        def __init__(self, style: str):
            super().__init__(role="Poet", goal="Rhyme", backstory=f"Writes {style}.")
            self.style = style

    assert Poet("sonnets").style == "sonnets"
