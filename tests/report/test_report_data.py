"""What a page is told of each piece of work, from events as they stand in a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_helpers import blocks_of, line_of

from oarlock.report import as_page, read_record


def blocks_with(tmp_path: Path, *events: dict[str, Any]) -> dict[str, Any]:
    """Return what is in the page of a run of one task with one call, in which this happened."""
    place = {"run_id": "r", "task_id": "r:1", "agent": "Poet", "task": "rhyme"}
    task, call = {**place, "span_id": "r:1", "parent_id": "r"}, {**place, "span_id": "c", "parent_id": "r:1"}
    lines = [
        line_of(oarlock_record=1, run_id="r", crew="rowers", time=100.0),
        line_of(event="RunStarted", run_id="r", span_id="r", time=100.0, tasks=1, crew="rowers"),
        line_of(event="TaskStarted", **task, time=100.0, number=1),
        line_of(event="CallStarted", **call, time=101.0, model="m"),
        *[line_of(**{**call, "time": 102.0, **event}) for event in events],
    ]
    (tmp_path / "run.jsonl").write_text("".join(lines))
    return blocks_of(as_page(read_record(tmp_path / "run.jsonl")))


@pytest.mark.parametrize(
    ("cause", "error", "shown"),
    [
        ("retry", {"type": "ServerError", "message": "down", "status": 502}, "backoff"),
        ("retry", {"type": "RateLimitError", "message": "slow down"}, "throttled"),
        ("retry", {"type": "LLMError", "message": "slow down", "status": 429}, "throttled"),
        ("retry", {"type": "CircuitOpenError", "message": "open"}, "breaker"),
        ("retry", None, "backoff"),
        ("rate_limit", None, "rate_limit"),
        ("of one's own", None, "of one's own"),
    ],
)
def test_causes_of_waits(tmp_path: Path, cause: str, error: Any, shown: str) -> None:
    waiting = {"event": "Waiting", "cause": cause, **({"error": error} if error else {})}
    data = blocks_with(tmp_path, waiting, {"event": "Waited", "cause": cause, "seconds": 3.0, "time": 105.0})["data"]
    (wait,) = data["pieces"][2]["w"]
    assert wait[:3] == [shown, 2.0, 3.0]
    assert data["runs"][0]["waits"] == [[shown, 1, 3.0, 3.0]]


@pytest.mark.parametrize(
    ("event", "words", "text"),
    [
        ({"event": "SignedIn", "method": "BearerToken", "why": "expired"}, "Signed in by BearerToken (expired)", None),
        (
            {"event": "ApprovalDecided", "tool": "rm", "approved": False, "reason": "No."},
            "Approval of rm: refused",
            "No.",
        ),
        ({"event": "ApprovalDecided", "tool": "rm", "approved": True}, "Approval of rm: given", None),
        ({"event": "CircuitChanged", "state": "half_open"}, "Circuit breaker half open", None),
        ({"event": "CircuitChanged", "state": "open", "why": "5 of 5 failed"}, "Circuit breaker open", "5 of 5 failed"),
        (
            {"event": "FellBack", "from_model": "m", "to_model": "n", "error": {"type": "E", "message": "why"}},
            "m failed, n was asked instead",
            "E: why",
        ),
        ({"event": "OfTomorrow"}, "OfTomorrow", None),
        ({"event": "SignedIn"}, "Signed in by ? (?)", None),
    ],
)
def test_what_else_happened(tmp_path: Path, event: dict[str, Any], words: str, text: str | None) -> None:
    (note,) = blocks_with(tmp_path, event)["data"]["pieces"][2]["x"]
    assert note == [words, 2.0, *([] if text is None else [text])]


def test_messages_in_all_their_forms(tmp_path: Path) -> None:
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:…"}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "add", "arguments": "{no JSON"}}, 7],
        },
        {"role": "tool", "name": "add", "content": {"sum": 3}},
        {"content": 7},
        "nonsense",
    ]
    request = {"messages": messages, "after": {"span_id": "lost", "count": 4}}
    content = blocks_with(tmp_path, {"event": "CallStarted", "model": "m", "request": request})["content-0"][2]
    assert content["after"] == [None, 4]
    image = json.dumps({"type": "image_url", "image_url": {"url": "data:…"}}, ensure_ascii=False, indent=2)
    assert content["messages"] == [
        {"r": "user", "t": f"Look\n\n{image}"},
        {"r": "assistant", "t": "", "c": [["add", "{no JSON"]]},
        {"r": "tool", "t": '{\n  "sum": 3\n}', "n": "add"},
        {"r": "?", "t": "7"},
    ]


def test_a_moment_that_cannot_be_one(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(
        line_of(oarlock_record=1, run_id="r", time=10**400) + line_of(oarlock_record=1, run_id="s", time=True)
    )
    assert [run.began for run in read_record(path).runs] == [[], [1]]
    assert blocks_of(as_page(read_record(path)))["data"]["runs"][0]["start"] == 0.0


def test_content_comes_in_blocks(tmp_path: Path) -> None:
    """The page finds what was said in a piece of work by its place, in whichever block it is."""
    calls = []
    for number in range(130):
        request = {"messages": [{"role": "user", "content": f"Question {number}"}]}
        calls.append({"event": "CallStarted", "span_id": f"c{number}", "model": "m", "request": request})
    blocks = blocks_with(tmp_path, *calls)
    pieces = blocks["data"]["pieces"]
    assert len(pieces) == 133
    chunk = blocks["data"]["chunk"]
    for place, number in ((3, 0), (99, 96), (100, 97), (132, 129)):
        said = blocks[f"content-{place // chunk}"][place % chunk]
        assert said["messages"][0]["t"] == f"Question {number}"
