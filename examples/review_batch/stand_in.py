"""Runs batch.py twice with a stand-in for the model on this machine: no network, no key, no cost."""

import json
import os

import batch

from oarlock.testing import LoopbackEndpoint, RecordedRequest

BAD, GOOD = ("Broke", "loud", "handle"), ("glad", "best", "Does what")


def answer(request: RecordedRequest) -> str:
    """Answer as the model would."""
    mood = "bad" if any(word in request.prompt for word in BAD) else "mixed"
    mood = "good" if any(word in request.prompt for word in GOOD) else mood
    return json.dumps({"mood": mood, "complaint": "It does not last" if mood == "bad" else None})


with LoopbackEndpoint(answer) as endpoint:
    os.environ["VLLM_BASE_URL"] = endpoint.url  # where LLM("vllm/...") looks for its server
    for requests in (100, 200):
        batch.main(["reviews.csv", "--llm", "vllm/stand-in", "--requests", str(requests)])
    print(f"{len(endpoint.requests)} requests at the endpoint")
