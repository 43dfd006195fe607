"""One crew for each line of a list; failures are caught as in CrewAI's days. Needs LLM_URL and LLM_TOKEN."""

import os
import sys

import crewai
from crewai import Agent, Crew, Task
from research import GatewayLLM

print("version:", crewai.__version__.split("+")[0])
llm = GatewayLLM(os.environ["LLM_TOKEN"], os.environ["LLM_URL"])
agent = Agent(role="Namer", goal="Name things", backstory="You name things.", llm=llm)
crew = Crew(agents=[agent], tasks=[Task(description="Name a {thing}", expected_output="A name", agent=agent)])
try:
    for result in crew.kickoff_for_each(inputs=[{"thing": thing} for thing in sys.argv[1:]]):
        print(result.raw)
except ValueError as error:
    print(f"refused: {type(error).__name__}", file=sys.stderr)
    sys.exit(3)
