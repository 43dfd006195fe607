"""A tool, a tool class, a step callback and an async kickoff, from the deeper module paths. Needs LLM_URL."""

import asyncio
import os

import requests
from crewai.agent import Agent
from crewai.agents.parser import AgentAction, AgentFinish
from crewai.crew import Crew
from crewai.crews.crew_output import CrewOutput
from crewai.llms.base_llm import BaseLLM
from crewai.process import Process
from crewai.task import Task
from crewai.tasks.task_output import TaskOutput
from crewai.tools import BaseTool, tool
from crewai.utilities.llm_utils import create_llm
from helper import CITY


@tool("Weather")
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Rain in {city}."


class Clock(BaseTool):
    name: str = "Clock"
    description: str = "Tell the time in a city."

    def _run(self, city: str) -> str:
        return f"Noon in {city}."


class PlainLLM(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        body = {"model": self.model, "messages": messages, "stop": self.stop}
        response = requests.post(os.environ["LLM_URL"] + "/chat/completions", json=body, timeout=30)
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]

    def supports_stop_words(self):
        return True


def step(event):
    if isinstance(event, AgentAction):
        print(f"step: {event.tool} -> {event.result}")
    elif isinstance(event, AgentFinish):
        print(f"step: {event.output}")


def finished(output: TaskOutput):
    print("task:", output.raw)


agent = Agent(
    role="Guide",
    goal="Help travellers",
    backstory="You know the city.",
    llm=create_llm(PlainLLM(model="plain")),
    tools=[weather, Clock()],
    max_iter=5,
    step_callback=step,
)
task = Task(description=f"How is it in {CITY}?", expected_output="One line", agent=agent, callback=finished)
crew = Crew(agents=[agent], tasks=[task], process=Process.sequential)


async def main() -> None:
    result = await crew.kickoff_async()
    assert isinstance(result, CrewOutput)
    print(result)


asyncio.run(main())
