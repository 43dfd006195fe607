"""A limit shared through a real Redis: processes, colours, loops, threads, forks, hints, settling, secrets."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from policy_helpers import Watch, fixed_estimate, most_in_a_window, tokens
from redis_helpers import RedisServer, free_port, needs_redis

from oarlock.contract.errors import ConfigurationError, ConnectionFailedError, LLMTimeoutError, RateLimitError
from oarlock.contract.reply import EndpointLimit, Reply
from oarlock.contract.secret import Secret
from oarlock.policies import Deadline, RateLimit, Retry
from oarlock.testing import FunctionLLM, ScriptedLLM

pytestmark = needs_redis
WORKER = Path(__file__).with_name("redis_worker.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def url(server: RedisServer) -> str:
    with server.client() as client:
        client.flushall()
    return server.url


def echo(limit: RateLimit, *policies: Any) -> Any:
    return FunctionLLM(lambda messages: "ok").with_policies(limit, *policies)


def test_processes_together_never_exceed_the_limit(server: RedisServer, url: str) -> None:
    """Three processes of threads and event loops; 40 requests in any second, by Redis' own clock."""
    command = [sys.executable, "-W", "error", str(WORKER), url, "1", "2", "40", "4000", "5"]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for worker in workers:
        assert worker.communicate(timeout=100)[1] == ""
        assert worker.returncode == 0
    with server.client() as client:
        passed = [int(when) for when in client.lrange("passed", 0, -1)]
    assert len(passed) > 40
    assert most_in_a_window([(when, 1) for when in passed], 1_000_000) <= 40
    assert most_in_a_window([(when, 1) for when in passed], 1_000) <= 5


def test_the_limit_is_one_for_all_who_give_the_key(url: str) -> None:
    first, second = (echo(RateLimit(2, burst=1, max_wait=0, store=url, key="a")) for _ in range(2))
    other = echo(RateLimit(2, burst=1, max_wait=0, store=url, key="b"))
    assert first.call("Hi") == "ok"
    with pytest.raises(RateLimitError, match="longer than there is time for") as caught:
        second.call("Hi")
    assert 29 < (caught.value.retry_after or 0) <= 30.25
    assert other.call("Hi") == "ok"


async def test_the_colours_and_loops_share_it(url: str) -> None:
    llm = echo(RateLimit(60, burst=4, max_wait=0, store=url, key="a"))
    assert llm.call("Hi") == "ok"
    assert await llm.acall("Hi") == "ok"
    assert await asyncio.to_thread(lambda: asyncio.run(llm.acall("Hi"))) == "ok"
    assert await asyncio.to_thread(lambda: asyncio.run(llm.acall("Hi"))) == "ok"
    with pytest.raises(RateLimitError):
        await llm.acall("Hi")


def test_many_threads_and_tasks_at_once(url: str) -> None:
    llm = echo(RateLimit(60, burst=30, store=url, key="a", max_wait=0.5))
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(llm.call("Hi"))
        except RateLimitError:
            answers.append(None)

    async def ask_all() -> None:
        answers.extend(await asyncio.gather(*[llm.acall("Hi") for _ in range(20)], return_exceptions=True))

    threads = [threading.Thread(target=ask) for _ in range(20)] + [
        threading.Thread(target=asyncio.run, args=(ask_all(),))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40
    assert 30 <= answers.count("ok") <= 31


def test_waiting_is_told_and_ends(url: str, watch: Watch) -> None:
    llm = echo(RateLimit(600, burst=1, store=url, key="a"), watch)
    for _ in range(3):
        assert llm.call("Hi") == "ok"
    assert [wait.cause for wait in watch.waits] == ["rate_limit"] * 2
    assert all(0 < wait.seconds < 0.2 for wait in watch.waits)


async def test_a_crowd_passes_in_order_of_arrival(url: str, watch: Watch) -> None:
    order: list[str] = []
    inner = FunctionLLM(lambda messages: order.append(str(messages[-1]["content"])) or "ok")  # type: ignore[func-returns-value]
    llm = inner.with_policies(watch, RateLimit(3000, burst=1, store=url, key="a"))
    await asyncio.gather(*[llm.acall(str(number)) for number in range(20)])
    assert order == [str(number) for number in range(20)]


async def test_those_who_could_not_be_served_in_time_fail_at_once(url: str) -> None:
    llm = echo(RateLimit(60, burst=1, store=url, key="a"), Deadline(1.9))
    calls = [asyncio.ensure_future(llm.acall("Hi")) for _ in range(10)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers.count("ok") == 2
    refused = [answer for answer in answers if isinstance(answer, RateLimitError)]
    assert len(refused) == 8
    assert not any(error.retryable for error in refused)


async def test_a_cancelled_waiter_gives_its_place_back(url: str) -> None:
    limit = RateLimit(600, burst=1, store=url, key="a")
    llm = echo(limit)
    await llm.acall("Hi")
    tasks = [asyncio.ensure_future(llm.acall("Hi")) for _ in range(5)]
    while len(limit._gate.line) < 5:
        await asyncio.sleep(0)
    for task in tasks[:4]:
        task.cancel()
    assert await tasks[4] == "ok"
    assert len(limit._gate.line) == 0


def test_tokens_are_settled(url: str) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=1000, max_wait=0, store=url, key="a"), lambda request: 200)
    llm = ScriptedLLM([tokens(10)] * 5 + [tokens(900), "ok"]).with_policies(limit)
    for _ in range(6):
        llm.call("Hi")
    with pytest.raises(RateLimitError) as caught:
        llm.call("Hi")
    assert (caught.value.retry_after or 0) > 40


def test_a_call_whose_usage_is_unknown_counts_as_estimated(url: str) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=1000, max_wait=0, store=url, key="a"), lambda request: 200)
    llm = ScriptedLLM(["ok", "ok"]).with_policies(limit)
    llm.call("Hi")
    with pytest.raises(RateLimitError):
        llm.call("Hi")


def limited(seconds: float | None) -> RateLimitError:
    return RateLimitError("slow down", status=429, retry_after=seconds)


@pytest.mark.parametrize(
    "told", [limited(40), Reply(text="ok", limits=(EndpointLimit(unit="any", remaining=0, resets_in=40),))]
)
def test_what_the_endpoint_says_reaches_the_other_processes(url: str, told: Any) -> None:
    here, there = (RateLimit(600, max_wait=0, store=url, key="a") for _ in range(2))
    llm = ScriptedLLM([told]).with_policies(here)
    if isinstance(told, Reply):
        llm.call("Hi")
    else:
        with pytest.raises(RateLimitError, match="slow down"):
            llm.call("Hi")
    for limit in (here, there):
        with pytest.raises(RateLimitError) as caught:
            echo(limit).call("Hi")
        assert 38 < (caught.value.retry_after or 0) <= 40


def test_a_hold_does_not_grow_by_being_asked_about(
    url: str, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oarlock.policies.shared_gate._LONGEST_SLEEP", 0.01)
    here, there = (RateLimit(600, store=url, key="a") for _ in range(2))
    with pytest.raises(RateLimitError):
        ScriptedLLM([limited(0.4)]).with_policies(here).call("Hi")
    with server.client() as client:
        before = client.hget("oarlock:limit:a", "hold")
        assert echo(there).call("Hi") == echo(here).call("Hi") == "ok"
        assert client.hget("oarlock:limit:a", "hold") == before


async def test_one_whose_time_ends_in_line_is_told_so(url: str, server: RedisServer) -> None:
    shared = RateLimit(60, burst=2, store=url, key="a", store_timeout=30)
    patient, hurried = echo(shared), echo(shared, Deadline(0.3))
    await patient.acall("Hi")
    server.freeze()
    try:
        first = asyncio.ensure_future(patient.acall("Hi"))
        while not shared._gate.line:
            await asyncio.sleep(0)
        with pytest.raises(RateLimitError, match="time for this request was up"):
            await hurried.acall("Hi")
    finally:
        server.thaw()
    assert await first == "ok"


async def test_those_behind_a_large_request_fail_at_once_where_it_takes_too_long(url: str) -> None:
    limit = fixed_estimate(RateLimit(tokens_per_minute=6000, store=url, key="a"), lambda request: 1500)
    patient, hurried = echo(limit), echo(limit, Deadline(5))
    await patient.acall("Hi")
    first = asyncio.ensure_future(patient.acall("Hi"))
    while limit._gate._last is None:
        await asyncio.sleep(0.01)
    with pytest.raises(RateLimitError) as caught:
        await hurried.acall("Hi")
    assert 10 < (caught.value.retry_after or 0) < 25
    first.cancel()
    await asyncio.wait([first])


def test_a_long_hint_fails_calls_at_once_in_all_processes(url: str) -> None:
    here, there = (RateLimit(600, store=url, key="a") for _ in range(2))
    with pytest.raises(RateLimitError):
        ScriptedLLM([limited(3600)]).with_policies(here).call("Hi")
    with pytest.raises(RateLimitError, match="asked not to be called"):
        echo(there).call("Hi")


def test_a_lower_limit_of_the_endpoints_counts(url: str) -> None:
    limit = RateLimit(600, burst=1, max_wait=5, store=url, key="a")
    said = Reply(text="ok", limits=(EndpointLimit(unit="requests", limit=2),))
    with pytest.raises(RateLimitError) as caught:
        for _ in range(3):
            ScriptedLLM([said]).with_policies(limit).call("Hi")
    assert 29 < (caught.value.retry_after or 0) <= 30.25


FORKING = """
import os, sys, warnings
warnings.filterwarnings("ignore", category=DeprecationWarning)  # of the fork itself, from Python 3.12 on
from oarlock.policies import RateLimit
from oarlock.testing import FunctionLLM
llm = FunctionLLM(lambda messages: "ok").with_policies(RateLimit(60, burst=5, max_wait=0, store=sys.argv[1], key="fork"))
llm.call("Hi")
child = os.fork()
for _ in range(2):
    assert llm.call("Hi") == "ok"
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
try:
    llm.call("Hi")
except Exception as error:
    print(type(error).__name__)
"""


def test_a_fork_goes_on_with_connections_of_its_own(url: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, url], capture_output=True, check=False, text=True, timeout=60
    )
    assert (shown.stdout, shown.stderr) == ("RateLimitError\n", "")


def test_nothing_is_left_open_or_warned_of_at_the_end(url: str) -> None:
    program = (
        "import asyncio, sys\nfrom oarlock.policies import RateLimit\nfrom oarlock.testing import FunctionLLM\n"
        "llm = FunctionLLM(lambda messages: 'ok').with_policies(RateLimit(60, store=sys.argv[1], key='end'))\n"
        "llm.call('Hi'); asyncio.run(llm.acall('Hi')); del llm\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program, url]
    shown = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert (shown.returncode, shown.stderr) == (0, "")


# What is set, shown and kept secret.

CANARY = "hunter2-canary"


def test_a_password_is_used_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = RedisServer(tmp_path, "--requirepass", CANARY)
    try:
        good = RateLimit(60, store=f"redis://:{CANARY}@127.0.0.1:{server.port}/0", key="a")
        with caplog.at_level("DEBUG"):
            assert echo(good).call("Hi") == "ok"
        shown = f"{good!r} {good.explain()} {caplog.text} {vars(good)}"
        assert f"redis://127.0.0.1:{server.port}/0" in shown
        assert CANARY not in shown
        with pytest.raises(TypeError, match="Secret cannot be pickled"):
            pickle.dumps(good)
        assert copy.deepcopy(good) is good
        server.stop()
        with pytest.raises(Exception, match="cannot be asked") as caught:
            echo(good).call("Hi")
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert CANARY not in "".join(frames.format())
    finally:
        server.stop()


@pytest.mark.parametrize("sign_in", [f":{CANARY}@", f"user:{CANARY}@", ""])
def test_a_wrong_password_is_told_at_once(tmp_path: Path, sign_in: str) -> None:
    server = RedisServer(tmp_path, "--requirepass", "right")
    try:
        store = f"redis://{sign_in}127.0.0.1:{server.port}"
        llm = echo(RateLimit(60, store=store, key="a", on_store_loss="local", workers=1), Retry())
        with pytest.raises(ConnectionFailedError, match="does not let us in") as caught:
            llm.call("Hi")
        error = caught.value
        assert (error.code, error.retryable, error.attempts) == ("limit_store", False, 1)
        assert (error.__cause__, error.__context__) == (None, None)
        del store, sign_in
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert CANARY not in "".join(frames.format())
    finally:
        server.stop()


def test_tls_is_checked(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate")
    authority.cert_pem.write_to_path(tmp_path / "authority")
    files = {"cert-file": "certificate", "key-file": "key", "ca-cert-file": "authority"}
    options = [word for name, file in files.items() for word in (f"--tls-{name}", str(tmp_path / file))]
    server = RedisServer(tmp_path, "--tls-port", str(port), "--tls-auth-clients", "no", *options)
    try:
        trusted = RateLimit(60, store=f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'authority'}", key="a")
        assert echo(trusted).call("Hi") == "ok"
        with pytest.raises(ConnectionFailedError, match="CERTIFICATE_VERIFY_FAILED"):
            echo(RateLimit(60, store=f"rediss://localhost:{port}", key="a")).call("Hi")
    finally:
        server.stop()


def test_a_pickle_has_the_settings_and_the_same_quota(url: str) -> None:
    limit = RateLimit(
        2, burst=1, max_wait=0.0, store=Secret(url), key="a", store_timeout=5, on_store_loss="local", workers=2
    )
    echo(limit).call("Hi")
    twin = pickle.loads(pickle.dumps(limit))
    assert repr(twin) == repr(limit)
    with pytest.raises(RateLimitError):
        echo(twin).call("Hi")


def test_the_deadline_ends_the_wait_for_redis(url: str, server: RedisServer) -> None:
    llm = echo(RateLimit(60, store=url, key="a", store_timeout=20), Deadline(0.3))
    server.freeze()
    try:
        with pytest.raises(LLMTimeoutError, match="deadline passed"):
            llm.call("Hi")
    finally:
        server.thaw()
    assert llm.call("Hi") == "ok"


def test_explain_says_where_and_with_whom() -> None:
    limit = RateLimit(600, store="redis://:secret@db.example.com:6380/1", key="prod")
    assert limit.explain() == (
        "Lets at most 600 requests (30 at once) pass a minute, together with all who share 'prod' at "
        "redis://db.example.com:6380/1, fewer where the endpoint says so; the others wait in line."
    )


@pytest.mark.parametrize(
    ("store", "shown"),
    [
        ("redis://localhost", "redis://localhost"),
        ("rediss://user:pass@[::1]:6380/2", "rediss://[::1]:6380/2"),
        ("unix:///run/redis.sock?password=pass", "unix:///run/redis.sock"),
    ],
)
def test_addresses_are_shown_without_what_is_secret(store: str, shown: str) -> None:
    limit = RateLimit(60, store=store, key="a")
    assert limit.store == shown
    assert "pass" not in repr(limit)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"store": "http://x", "key": "a"}, "store must be the URL of a Redis"),
        ({"store": "redis://", "key": "a"}, "store must be the URL of a Redis"),
        ({"store": f"redis://:{CANARY}@x:99999", "key": "a"}, "store must be the URL of a Redis"),
        ({"store": f"redis://:{CANARY}@x:1/0?socket_timeout=soon", "key": "a"}, "understands: redis://x:1/0"),
        ({"store": 5, "key": "a"}, "as text or Secret"),
        ({"store": "redis://x"}, "a store needs a key"),
        ({"store": "redis://x", "key": ""}, "a store needs a key"),
        ({"store": "redis://x", "key": "a\nb"}, "a store needs a key"),
        ({"store": "redis://x", "key": "a" * 201}, "a store needs a key"),
        ({"key": "a"}, "need a store"),
        ({"workers": 2}, "need a store"),
        ({"on_store_loss": "local"}, "need a store"),
        ({"store": "redis://x", "key": "a", "on_store_loss": "ignore"}, '"error" or "local"'),
        ({"store": "redis://x", "key": "a", "on_store_loss": "local"}, "go together"),
        ({"store": "redis://x", "key": "a", "workers": 2}, "go together"),
        ({"store": "redis://x", "key": "a", "on_store_loss": "local", "workers": 0}, "workers must be a whole number"),
        ({"store": "redis://x", "key": "a", "store_timeout": 0}, "store_timeout must be a finite number"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        RateLimit(60, **settings)
    frames = traceback.TracebackException.from_exception(caught.value)
    assert CANARY not in "".join(frames.format())


def test_the_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'oarlock\[redis\]'"):
        RateLimit(60, store="redis://localhost", key="a")
