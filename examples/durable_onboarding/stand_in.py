"""Runs onboarding.py with a stand-in for the model on this machine, and kills it in the middle: no network, no key, no cost."""

import os
import subprocess
import sys
from pathlib import Path

from oarlock.testing import LoopbackEndpoint, RecordedRequest, ToolCalls

LETTER = "Dear Ropewalk, your application was accepted. Your account is 7001. We look forward to your ropes."
asked: list[str] = []
running: list[subprocess.Popen[str]] = []


def answer(request: RecordedRequest) -> str | ToolCalls:
    """Answer as the model would, but when the letter is asked for the first time, the power fails."""
    task = next(name for name in ("Write to", "Open the", "Check this") if name in str(request.json["messages"][1]))
    asked.append(task)
    if task == "Check this":
        return "Accepted: the company is old, registered, and has two references."
    if task == "Open the":
        done = request.json["messages"][-1]["role"] == "tool"
        return "7001" if done else ToolCalls([("open_account", {"supplier": "Ropewalk Ltd."})])
    if asked.count(task) == 1:
        running[-1].kill()
    return LETTER


def run() -> subprocess.Popen[str]:
    """Run onboarding.py in a process of its own, to its end, whatever that is."""
    command = [sys.executable, "onboarding.py", "applications/ropewalk.txt", "--llm", "vllm/stand-in"]
    running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    return running[-1]


with LoopbackEndpoint(answer) as endpoint:
    os.environ["VLLM_BASE_URL"] = endpoint.url  # where LLM("vllm/...") looks for its server
    printed, _ = run().communicate()
    print(f"First run: killed, and it printed {printed or 'nothing'}")
    printed, _ = run().communicate()
    print(f"Second run: {printed.strip()}")

for task in dict.fromkeys(asked):
    print(f"{task} ...: asked {asked.count(task)} times")
print(f"Accounts opened: {len(Path('accounts.jsonl').read_text().splitlines())}")
