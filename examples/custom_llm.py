"""A custom LLM in a crew, written with CrewAI's names: run it with `oarlock run examples/custom_llm.py`.

It answers by itself, so that it runs anywhere; put your own request in its place.
"""

from crewai import Agent, BaseLLM, Crew, Task


class EchoLLM(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None):
        return f"You asked: {messages[-1]['content'].splitlines()[0]}"


agent = Agent(role="Parrot", goal="Repeat", backstory="Green.", llm=EchoLLM())
task = Task(description="What are the benefits of exercise?", expected_output="The question", agent=agent)
print(Crew(agents=[agent], tasks=[task]).kickoff())
