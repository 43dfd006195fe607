"""A crew of two with an LLM that signs in with a JWT, written for CrewAI. Needs LLM_URL and LLM_TOKEN."""

import os
import sys
from typing import Any, Dict, List, Optional, Union  # noqa: UP035

import requests
from crewai import Agent, BaseLLM, Crew, Process, Task


class GatewayLLM(BaseLLM):
    def __init__(self, token: str, endpoint: str):
        super().__init__(model="company-model", temperature=0.2)
        self.token = token
        self.endpoint = endpoint

    def call(
        self,
        messages: Union[str, List[Dict[str, str]]],  # noqa: UP006, UP007
        tools: Optional[List[dict]] = None,  # noqa: UP006, UP045
        callbacks: Optional[List[Any]] = None,  # noqa: UP006, UP045
        available_functions: Optional[Dict[str, Any]] = None,  # noqa: UP006, UP045
        from_task: Optional[Any] = None,  # noqa: UP045
        from_agent: Optional[Any] = None,  # noqa: UP045
        response_model: Optional[Any] = None,  # noqa: UP045
    ) -> Union[str, Any]:  # noqa: UP007
        assert from_agent is not None
        assert isinstance(from_task, Task)
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        response = requests.post(
            self.endpoint + "/chat/completions",
            headers={"Authorization": f"Bearer {self.token}"},
            json={"model": self.model, "messages": messages, "temperature": self.temperature},
            timeout=30,
        )
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]


def main():
    llm = GatewayLLM(os.environ["LLM_TOKEN"], os.environ["LLM_URL"])
    researcher = Agent(role="Researcher on {topic}", goal="Find facts", backstory="Curious.", llm=llm, verbose=False)
    writer = Agent(role="Writer", goal="Write clearly", backstory="Patient.", llm=llm, allow_delegation=False)
    research = Task(description="Research {topic}", expected_output="Three facts", agent=researcher)
    report = Task(description="Write about {topic}", expected_output="A text", agent=writer, context=[research])
    crew = Crew(agents=[researcher, writer], tasks=[research, report], process=Process.sequential, verbose=False)
    result = crew.kickoff(inputs={"topic": sys.argv[1]})
    for output in result.tasks_output:
        print(f"{output.agent}: {output.raw}")
    print("calls:", result.token_usage.successful_requests)


if __name__ == "__main__":
    main()
