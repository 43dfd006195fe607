"""`oarlock faults` and `oarlock faults serve`, as a user meets them."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import requests

from oarlock.testing import faults


def oarlock(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oarlock", "faults", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_piped_it_is_a_line_each():
    lines = oarlock().stdout.splitlines()
    assert [line.split("\t")[1] for line in lines] == faults.names()
    assert lines[0].split("\t") == [
        "none",
        "answer",
        "Answers well; streams where that is asked for.",
        "returns the answer; 1 request",
    ]


def test_one_group():
    assert [line.split("\t")[1] for line in oarlock("--group", "retry").stdout.splitlines()] == faults.names("retry")


def test_on_a_terminal_it_is_a_table():
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "oarlock", "faults", "--group", "tls"]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # Linux's way to say that the other end has gone
            pass
        assert process.wait(60) == 0
    os.close(ours)
    text = shown.decode()
    assert "What a good client does" in text
    assert re.search(
        r"tls +tls_expired +Shows a certificate that expired yesterday\. +raises ConnectionFailedError; 1", text
    )
    assert f"{len(faults.names('tls'))} faults." in text


def test_unknown_names_end_in_one_sentence():
    for arguments, said in (
        (("--group", "nope"), "no group 'nope'"),
        (("serve", "slowbody"), "There is no fault 'slowbody'. Did you mean 'slow_body'?"),
        (("serve", "nope"), "There is no fault 'nope'. They are listed by `oarlock faults`"),
    ):
        done = oarlock(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_one_is_served_until_it_is_interrupted():
    command = [sys.executable, "-m", "oarlock", "faults", "serve", "status_503"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        url = lines[2].removeprefix("Base URL: ").strip()
        with requests.Session() as session:
            session.trust_env = False
            assert session.post(f"{url}/chat/completions", json={}, timeout=10).status_code == 503
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert lines[0] == "status_503: Answers HTTP 503, always.\n"
    assert lines[1] == "A good client: raises ServerError; at most 3 requests.\n"
    assert lines[3] == "Ctrl-C ends.\n"
    assert out == "1 requests came over 1 connections, 0 connections to another port that no client should use.\n"
    assert (process.returncode, err) == (130, "Interrupted.\n")


def test_over_tls_it_tells_what_to_trust():
    command = [sys.executable, "-m", "oarlock", "faults", "serve", "tls_expired"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert lines[2].startswith("Base URL: https://127.0.0.1:")
    assert re.fullmatch(r"Authority to trust: .*ca\.pem\n", lines[3])
