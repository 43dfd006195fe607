"""What the environment may say, and no client of ours listens to unless asked."""

from __future__ import annotations

import time

import pytest

from oarlock import ChatLLM
from oarlock.testing import faults

TRANSPORTS = ["pyreqwest", "httpx2"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_proxy_variables_are_not_used(transport, monkeypatch):
    with faults.serve("answer") as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, server.other_url.removesuffix("/v1"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert ChatLLM("m", server.url, transport=transport).call("Hi") == "Hello there."
        assert server.other_connections == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_netrc_is_not_used(transport, monkeypatch, tmp_path):
    path = tmp_path / ".netrc"
    path.write_text("machine 127.0.0.1 login somebody password canary\ndefault login somebody password canary\n")
    path.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(path))
    with faults.serve("answer") as server:
        ChatLLM("m", server.url, transport=transport).call("Hi")
        assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "name",
    ["closes_what_it_kept", "resets_what_it_kept", "answers_twice", "answers_unasked", "content_length_too_short"],
)
def test_what_one_answer_leaves_behind_harms_no_other(name, transport):
    with faults.serve(name, then="answer") as server:
        llm = ChatLLM("m", server.url, transport=transport)
        said = []
        for _ in range(3):
            try:
                said.append(llm.call("Hi"))
            except ValueError as error:  # the answer that was cut short
                said.append(type(error).__name__)
            time.sleep(0.1)  # whatever was sent unasked has come; what comes later cannot be told from an answer
        assert said[1:] == ["Hello there."] * 2
        assert said[0] in ("Hello there.", "ResponseFormatError")
