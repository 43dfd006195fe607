from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from oarlock.contract.errors import ConnectionFailedError
from oarlock.transport import Httpx2Transport, ReqwestTransport


def echo(peer):
    peer.answer(peer.body)


def test_fifty_threads(transport, serve):
    server = serve(echo)

    def work(number):
        bodies = [b"%d-%d" % (number, turn) for turn in range(10)]
        return [transport.send(server.request(body=body)).body for body in bodies] == bodies

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(work, range(50)))
    assert len(server.bodies) == 500
    assert server.connections <= 100  # of 500: a client may open one too many while another becomes free


async def test_two_hundred_tasks(transport, serve):
    server = serve(echo)

    async def work(number):
        body = b"%d" % number
        if number % 3:
            return (await transport.asend(server.request(body=body))).body == body
        stream = await transport.aopen(server.request(body=body))
        try:
            return await stream.aread_chunk(30) == body
        finally:
            await stream.aclose()

    assert all(await asyncio.gather(*[work(number) for number in range(200)]))
    await transport.aclose()


def test_one_event_loop_after_the_other(transport, serve):
    server = serve(echo)

    async def work():
        return [(await transport.asend(server.request(body=b"a"))).body for _ in range(3)]

    for _ in range(4):
        assert asyncio.run(work()) == [b"a"] * 3


def test_event_loops_in_several_threads_at_once(transport, serve):
    server = serve(echo)

    async def work():
        return await asyncio.gather(*[transport.asend(server.request(body=b"a")) for _ in range(20)])

    with ThreadPoolExecutor(4) as pool:
        for answers in pool.map(lambda _: asyncio.run(work()), range(8)):
            assert [answer.body for answer in answers] == [b"a"] * 20


def test_blocking_and_async_use_take_turns_also_inside_a_running_loop(transport, serve):
    server = serve(echo)
    assert transport.send(server.request(body=b"1")).body == b"1"

    async def work():
        assert (await transport.asend(server.request(body=b"2"))).body == b"2"
        assert transport.send(server.request(body=b"3")).body == b"3"
        stream = transport.open(server.request(body=b"4"))
        assert stream.read_chunk(30) == b"4"
        stream.close()
        await asyncio.sleep(0)
        assert (await transport.asend(server.request(body=b"5"))).body == b"5"

    asyncio.run(work())
    assert transport.send(server.request(body=b"6")).body == b"6"


def test_a_closed_transport_opens_again(caller, serve):
    server = serve()
    for expected in (1, 2):
        caller.send(server.request())
        caller._do(caller.transport.close, caller.transport.aclose)
        assert server.connections == expected


def test_closing_ends_what_waits(serve):
    arrived = threading.Event()
    server = serve(lambda peer: (arrived.set(), peer.hang()))
    transport = ReqwestTransport()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(transport.send, server.request(timeout=20))
        assert arrived.wait(30)
        transport.close()
        with pytest.raises(ConnectionFailedError, match="was closed while it waited"):
            waiting.result(30)


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    code = "import sys\nfrom oarlock.contract.http import HttpRequest\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("kind", ["pyreqwest", "httpx2"])
def test_a_forked_child_has_connections_of_its_own(serve, kind):
    server = serve(echo)
    code = """
        import os, asyncio, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of fork beside threads
        from oarlock.transport import make_transport
        transport = make_transport(sys.argv[1])
        def go(body):
            request = HttpRequest(method="POST", url=sys.argv[2], body=body, timeout=20)
            assert transport.send(request).body == body
            assert asyncio.run(transport.asend(request)).body == body
            stream = transport.open(request)
            assert stream.read_chunk(20) == body
            stream.close()
        go(b"parent")
        if (pid := os.fork()) == 0:
            go(b"child")
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        go(b"parent again")
    """
    done = run(code, kind, server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(server.bodies) == [b"child"] * 3 + [b"parent"] * 3 + [b"parent again"] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_a_child_says_what_to_do(serve):
    code = """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from oarlock.transport import make_transport
        transport = make_transport()
        request = HttpRequest(method="POST", url=sys.argv[1], timeout=20)
        for generation in range(3):
            try:
                transport.send(request)
            except ValueError as error:
                print(generation, error, flush=True)
            if (pid := os.fork()) != 0:
                os.waitpid(pid, 0)
                break
    """
    done = run(code, serve().url)
    assert done.stdout.startswith("2 this process was forked")
    assert "spawn" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
@pytest.mark.parametrize("kind", ["pyreqwest", "httpx2"])
@pytest.mark.parametrize("verb", ["send", "open"])
def test_ctrl_c_ends_a_blocking_call(serve, kind, verb):
    code = """
        import os, signal
        from oarlock.transport import make_transport
        transport = make_transport(sys.argv[1])
        hanging = HttpRequest(method="POST", url=sys.argv[2], timeout=100)
        try:
            getattr(transport, sys.argv[3])(hanging)
        except KeyboardInterrupt:
            assert signal.set_wakeup_fd(-1) == -1
            print(transport.send(HttpRequest(method="POST", url=sys.argv[4], timeout=20)).status)
    """
    arrived = threading.Event()
    server, good = serve(lambda peer: (arrived.set(), peer.hang())), serve()
    code = "import sys\nfrom oarlock.contract.http import HttpRequest\n" + textwrap.dedent(code)
    command = [sys.executable, "-c", code, kind, server.url, verb, good.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert arrived.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("200\n", "")
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send")
def test_signals_still_reach_a_running_event_loop(serve):
    code = """
        import asyncio, os, signal, threading
        from oarlock.transport import make_transport
        transport = make_transport()
        async def main():
            seen = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, seen.set)
            transport.send(HttpRequest(method="POST", url=sys.argv[1], timeout=20))  # the signal comes meanwhile
            await asyncio.wait_for(seen.wait(), 20)
            os.kill(os.getpid(), signal.SIGUSR1)
            print("seen")
        asyncio.run(main())
    """
    pid: list[int] = []
    server = serve(lambda peer: (started.wait(60), os.kill(pid[0], signal.SIGUSR1), peer.answer()))
    started = threading.Event()
    code = "import sys\nfrom oarlock.contract.http import HttpRequest\n" + textwrap.dedent(code)
    with subprocess.Popen(
        [sys.executable, "-c", code, server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        pid.append(process.pid)
        started.set()
        assert process.communicate(timeout=60) == ("seen\n", "")


@pytest.mark.parametrize("kind", ["pyreqwest", "httpx2"])
def test_a_process_ends_well_with_everything_left_open(serve, kind):
    server = serve(lambda peer: (peer.begin(), peer.chunk(b"x"), peer.hang()))
    code = """
        import asyncio, contextlib, threading
        from oarlock import OarlockError
        from oarlock.transport import make_transport
        transport = make_transport(sys.argv[1])
        request = HttpRequest(method="POST", url=sys.argv[2], timeout=50)
        kept = transport.open(request)
        kept.read_chunk(20)
        async def main():
            global other, task
            other = await transport.aopen(request)
            await other.aread_chunk(20)
        asyncio.run(main())
        def send():
            with contextlib.suppress(OarlockError):  # its client may be closed just before the end
                transport.send(request)
        threading.Thread(target=send, daemon=True).start()
    """
    done = run(code, kind, server.url)
    assert done.returncode == 0, done.stderr
    assert kind == "httpx2" or done.stderr == ""  # asyncio may report httpx2's own generators


FIRST_CALLS = """
import sys, threading
from oarlock.contract.http import HttpRequest
from oarlock.transport import ReqwestTransport, TransportOptions

barrier = threading.Barrier(16)

def call(number):
    transport = ReqwestTransport(TransportOptions(idle_connections=number))
    barrier.wait()
    transport.send(HttpRequest(method="POST", url=sys.argv[1], timeout=20))

threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


PASSING_THREADS = """
import sys, threading
from oarlock.contract.http import HttpRequest
from oarlock.transport import ReqwestTransport

transport = ReqwestTransport()
request = HttpRequest(method="POST", url=sys.argv[1], timeout=20)
for _ in range(20):  # the first of them loads the client, and ends
    thread = threading.Thread(target=lambda: [transport.send(request) for _ in range(20)])
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize("run", range(3))
def test_threads_may_come_and_go(serve, run):
    server = serve()
    command = [sys.executable, "-c", PASSING_THREADS, server.url]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), run
    assert len(server.heads) == 400


@pytest.mark.parametrize("run", range(3))
def test_sixteen_threads_may_be_the_first_to_call(serve, run):
    server = serve()
    command = [sys.executable, "-c", FIRST_CALLS, server.url]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), run
    assert len(server.heads) == 16


def test_nothing_is_imported_before_use():
    done = run(
        "import oarlock.transport as t; t.make_transport(); print('pyreqwest' in sys.modules, 'httpx2' in sys.modules)"
    )
    assert done.stdout == "False False\n"


def test_reprs_show_no_secret():
    from oarlock.transport import TransportOptions

    options = TransportOptions(proxy="http://user:canary@proxy.invalid:1")
    for shown in (options, ReqwestTransport(options), Httpx2Transport(options)):
        assert "canary" not in repr(shown)
