"""Does our LLM hold up? Oarlock's contract asks it some forty things, at an endpoint that speaks the house's protocol."""

import json

from house_llm import HouseLLM

from oarlock.testing import LLMContract, RecordedRequest, ToolCalls


class TestHouseLLM(LLMContract):
    secrets = ("s3cret-of-team-blue",)

    def make_llm(self, url: str) -> HouseLLM:
        return HouseLLM(url, "team-blue", "s3cret-of-team-blue")

    def respond(self, request: RecordedRequest, answer: str | ToolCalls) -> dict:
        """Write an answer as the service does."""
        tokens = {"heard": 10, "said": 5}
        if isinstance(answer, str):
            return {"says": answer, "ended": "done", "tokens": tokens}
        calls = [(name, json.loads(given) if isinstance(given, str) else given) for name, given in answer.calls]
        wishes = [{"ref": f"w{number}", "skill": name, "with": given} for number, (name, given) in enumerate(calls)]
        return {"wishes": wishes, "ended": "skills", "tokens": tokens}
