"""A class as CrewAI's own project template has it, with a model that answers by script."""

from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.project import CrewBase, after_kickoff, agent, before_kickoff, callback, crew, llm, task, tool

from oarlock import tool as make_tool
from oarlock.testing import ScriptedLLM

MODEL = ScriptedLLM(["ten facts", "the report"] * 5)


@CrewBase
class LatestAiDevelopmentCrew:
    """LatestAiDevelopment crew."""

    agents: list[Any]
    tasks: list[Task]

    agents_config = "config/agents.yaml"
    tasks_config = "config/tasks.yaml"

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @before_kickoff
    def prepare_inputs(self, inputs):
        inputs["topic"] = inputs["topic"].upper()
        self.seen.append(("before", dict(inputs)))
        return inputs

    @after_kickoff
    def process_output(self, output):
        self.seen.append(("after", output.raw))
        return output

    @llm
    def fast(self):
        return MODEL

    @tool
    def count_letters(self):
        @make_tool
        def count_letters(text: str) -> int:
            """Count the letters of a text."""
            return len(text)

        return count_letters

    @callback
    def noted(self, output):
        self.seen.append(("task", output.raw))

    @agent
    def researcher(self) -> Agent:
        return Agent(config=self.agents_config["researcher"], verbose=False)

    @agent
    def reporting_analyst(self) -> Agent:
        return Agent(config=self.agents_config["reporting_analyst"], llm=MODEL)

    @task
    def research_task(self) -> Task:
        return Task(config=self.tasks_config["research_task"])

    @task
    def reporting_task(self) -> Task:
        return Task(config=self.tasks_config["reporting_task"])

    @crew
    def crew(self) -> Crew:
        """Creates the LatestAiDevelopment crew."""
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential, verbose=False)
