"""Runs `oarlock run crew.yaml` with a stand-in for the models on this machine: no network, no key, no cost."""

import os
import subprocess
import sys

from oarlock.testing import LoopbackEndpoint, RecordedRequest, Status, ToolCalls, require_bearer

PICKED = "Search finds words in attachments\nSigning in with a passkey\nThe calendar shows holidays of your country"
LONG = "Dear readers! " + "This week was busy. " * 30
SHORT = (
    "Dear readers,\nthis week search began to look into attachments, you can sign in with a passkey, and the calendar knows "
    "the holidays of your country.\nSee you next week!"
)


def answer(request: RecordedRequest) -> str | ToolCalls | Status:
    """Answer as the two models would."""
    asked = str(request.json["messages"])
    if "The rule:" in asked:
        return '{"valid": true, "reason": ""}'
    if request.json["model"] == "small":
        if "Find the changes" not in asked:
            return SHORT  # in place of the good model, when that cannot
        called = request.json["messages"][-1]["role"] == "tool"
        return PICKED if called else ToolCalls([("changes_of_week", {"week": 48})])
    return Status(503) if "Write at most" in asked else LONG  # the good model fails when it is to try again


with LoopbackEndpoint(answer, auth=require_bearer("t0ken")) as endpoint:
    settings = {"LLM_URL": endpoint.url, "LLM_TOKEN": "t0ken", "FAST_MODEL": "small", "GOOD_MODEL": "large"}
    command = [sys.executable, "-m", "oarlock", "run", "crew.yaml", "--input", "week=48"]
    sys.exit(subprocess.run(command, env={**os.environ, **settings}, check=False).returncode)
