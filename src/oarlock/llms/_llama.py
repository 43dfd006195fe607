"""llama.cpp in this process, through `xllamacpp`: loading models once, and generations that can be stopped.

What the binding is like (2026.10), and what is done about it here:

- Its `Server` always listens. It is given a Unix socket in a private folder, which is removed once it stands, so that
  nobody can reach it; where there are no Unix sockets, a port of 127.0.0.1 behind a random key.
- Loading holds the interpreter's lock: all threads stand still meanwhile. Generating does not.
- A generation can be stopped only from its callback, so each one streams, also where nobody watches, and reports on the
  prompt's progress. What a callback raises is swallowed.
- A `Server` that is destroyed before its loop runs hangs for ever, and it is handed out before that: it is asked for its
  metrics first, which the loop answers.
- A generation that outlives Python crashes the process, at its next token or in C++'s own clean-up: at exit each one is
  stopped and waited for, and none begins any more.
- Destroying a `Server` joins threads, and some of them are the parent's in a forked child: there, none is destroyed, and
  a child of a process that has loaded a model loads its own.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import secrets
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NoReturn

from oarlock.contract.errors import BadRequestError, CallFailedError, ConfigurationError, LLMError
from oarlock.contract.secret import scrub
from oarlock.runtime import ThreadPool

_BATCH: Final = 64  # tokens of a prompt between two chances to stop; larger batches were no faster on two processors
_SILENT: Final = -1  # llama.cpp's verbosity: below its errors (0) there is nothing
_EXIT_SECONDS: Final = 10.0  # how long the interpreter's exit waits for a generation to notice that it is stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What makes a loaded model: equal settings share one."""

    path: Path
    context_window: int
    parallel: int
    threads: int


class Generation:
    """One answer being written in a thread; its pieces wait in a queue until they are taken."""

    def __init__(self) -> None:
        self.stopped = False
        self.silent = False  # at the program's exit nobody is told of the end, lest threads die with a traceback
        self._chunks: SimpleQueue[bytes | None] = SimpleQueue()
        self._ended = False
        self._error: BaseException | None = None

    def stop(self) -> None:
        """Let it end at its next token, without waiting for that."""
        self.stopped = True

    def take(self) -> list[bytes]:
        """Wait for pieces and return those that are there; an empty list is the end.

        Raises:
            LLMError: the generation failed.
        """
        chunks: list[bytes] = []
        chunk = None if self._ended else self._chunks.get()
        while chunk is not None:
            chunks.append(chunk)
            try:
                chunk = self._chunks.get_nowait()
            except Empty:
                return chunks
        self._ended = True
        if self._error is not None:
            raise self._error
        return chunks

    def take_all(self) -> list[bytes]:
        """Wait for the end and return every piece."""
        chunks = []
        while some := self.take():
            chunks += some
        return chunks

    def _run(self, engine: Engine, body: bytes) -> None:
        try:
            if not self.stopped:
                engine._server.handle_chat_completions(body, self._put)  # noqa: SLF001  they are one machine
        except Exception as error:  # noqa: BLE001  C++ exceptions come as any: they are about the request
            self._error = _refused(error)
        finally:
            if not self.silent:
                self._chunks.put(None)

    def _put(self, chunk: bytes) -> bool:
        """Receive a piece from llama.cpp; `True` stops it."""
        if not self.stopped:
            self._chunks.put(chunk)
        return self.stopped


class Engine:
    """One loaded model. It is unloaded when nobody refers to it any more."""

    def __init__(self, settings: Settings) -> None:
        self.usable = True
        self._threads = ThreadPool(settings.parallel, "oarlock-local")  # further generations wait for one of these
        self._running: dict[int, Any] = {}
        self._lock = threading.Lock()  # `shut` sees each generation that `start` lets begin
        self._server: Any = _open(settings)

    def start(self, body: bytes) -> Generation:
        """Begin to answer a request, which is a body of the OpenAI chat format that asks for a stream."""
        generation = Generation()
        key = id(generation)
        with self._lock:
            running = _submitted(self._threads, generation._run, self, body) if self.usable else None  # noqa: SLF001
            if running is not None:
                self._running[key] = (generation, running)
        if running is None:
            _refuse_at_exit()
        running.add_done_callback(lambda _: self._running.pop(key, None))
        return generation

    def shut(self, until: float) -> None:
        """Stop all generations, wait for them until the given monotonic time, and unload."""
        with self._lock:
            self.usable = False
            running = list(self._running.values())
        for generation, _ in running:
            generation.stopped = generation.silent = True
        for _, future in running:
            with contextlib.suppress(Exception):
                future.result(max(0.0, until - time.monotonic()))
        if not all(future.done() for _, future in running):
            self.keep()
        self._server = None

    def keep(self) -> None:
        """Never destroy the server: in a forked child, or at exit with a generation that does not end."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._server))


class _Models:
    """The models that are loaded. All loading happens in one thread, so each is loaded once without a lock."""

    def __init__(self) -> None:
        self._loader = ThreadPool(1, "oarlock-load")
        self._engines: weakref.WeakValueDictionary[Settings, Engine] = weakref.WeakValueDictionary()
        self._prepared = False
        self._forked = False
        self._ending = False
        self._last: Any = None  # the future of the last load that was begun
        self._lock = threading.Lock()  # the exit sees each load that begins

    def prepare(self) -> None:
        """See to a clean exit; to be called while the program is not ending, so before anything is loaded."""
        with self._lock:
            if not self._prepared:
                self._prepared = True
                atexit.register(self._at_exit)
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=self._after_fork)

    def get(self, settings: Settings) -> Engine:
        self.prepare()  # an unpickled LLM has not
        with self._lock:
            loading = None if self._ending else _submitted(self._loader, self._get, settings)
            if loading is not None:
                self._last = loading
        if loading is None:
            _refuse_at_exit()
        loading.add_done_callback(self._forget)
        engine: Engine = loading.result()
        return engine

    def refuse_at_exit(self) -> None:
        """Let nobody wait for a model that will not be loaded any more."""
        if self._ending:
            _refuse_at_exit()

    def _forget(self, done: Any) -> None:
        if self._last is done:  # it would keep the engine alive
            self._last = None

    def _get(self, settings: Settings) -> Engine:
        engine = self._engines.get(settings)
        if engine is None or not engine.usable:
            self._engines[settings] = engine = Engine(settings)
            if self._forked:
                engine.keep()
        return engine

    def _after_fork(self) -> None:
        engines, self._last, self._lock = list(self._engines.values()), None, threading.Lock()
        for engine in engines:
            engine.usable = False
            engine.keep()
        self._engines = weakref.WeakValueDictionary()
        if engines and not self._forked:
            self._forked = True
            _leave_without_cleaning()

    def _at_exit(self) -> None:
        until = time.monotonic() + _EXIT_SECONDS
        with self._lock:
            self._ending, loading = True, self._last
        if loading is not None:
            with contextlib.suppress(Exception):
                loading.result(_EXIT_SECONDS)
        for engine in list(self._engines.values()):
            engine.shut(until)


models: Final = _Models()  # of this process: that is the point of sharing them


def _submitted(pool: ThreadPool, call: Callable[..., Any], *args: Any) -> Any:
    """Run a call in a thread and return its future; `None` where the program is ending and Python (from 3.12 on) starts no more threads."""
    try:
        return pool.submit(call, *args)
    except RuntimeError as error:
        if "interpreter shutdown" in str(error):
            return None
        raise


def _refuse_at_exit() -> NoReturn:
    """Tell the main thread that it is too late; let others stand still, as Python itself does with them in a moment."""
    if threading.current_thread() is threading.main_thread():
        raise CallFailedError("The program is ending: no model of this process can be asked any more.")
    while True:
        threading.Event().wait()


def _leave_without_cleaning() -> None:
    """Let this forked child, once Python has ended, skip the destructors of C++: they wait for the parent's threads."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # of glibc; it hands the exit status to the function
        libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)  # noqa: SLF001


def default_threads() -> int:
    """Return the number of processors that this process may use, but no more than eight.

    Beyond that a CPU's memory, not its cores, sets the pace.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 8)


def _open(settings: Settings) -> Any:
    xllamacpp = import_binding()
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    params.model_alias = {settings.path.stem}
    params.n_ctx = settings.context_window * settings.parallel
    params.n_parallel = settings.parallel
    params.n_batch = params.n_ubatch = _BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.cpuparams.poll = params.cpuparams_batch.poll = 0  # no spinning: others want the processors too
    params.cache_ram_mib = 0  # it would keep up to 8 GB of old conversations
    params.verbosity = _SILENT
    params.fit_params = params.warmup = params.ui = params.endpoint_slots = False
    params.endpoint_metrics = True
    params.n_threads_http = 1
    params.api_keys = [secrets.token_hex(32)]
    with _address() as (host, port):
        params.hostnames, params.port = [host], port
        try:
            server = xllamacpp.Server(params)
            server.handle_metrics()
        except (RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"llama.cpp could not load {settings.path}: the file may be damaged or of a kind that this version "
                f"does not know, or there is too little memory ({scrub(str(error))})."
            ) from error
    return server


@contextlib.contextmanager
def _address() -> Iterator[tuple[str, int]]:
    """Yield where the server may listen; afterwards nobody finds it there, where the system allows that."""
    if os.name != "posix":
        yield "127.0.0.1", 0
        return
    folder = tempfile.mkdtemp(prefix="oarlock-")
    try:
        yield f"{folder}/llama.sock", 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def import_binding() -> Any:
    """Return the module `xllamacpp`.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        with _patient_threads():
            import xllamacpp
    except ImportError as error:
        raise ConfigurationError(
            'LocalLLM needs llama.cpp, which is not installed: pip install "oarlock[local]" (the package xllamacpp).'
        ) from error
    return xllamacpp


@contextlib.contextmanager
def _patient_threads() -> Iterator[None]:
    """Let OpenMP, which reads this while the import loads it, put waiting threads to sleep instead of spinning.

    On two busy processors 24 tokens took 1.8 s instead of 18 s or more; on two idle ones 1.4 s instead of 0.8 s.
    """
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    if any(name in os.environ for name in names):
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        yield
    finally:
        os.environ.pop("OMP_WAIT_POLICY", None)


def _refused(error: Exception) -> LLMError:
    if isinstance(error, LLMError):
        return error
    return BadRequestError(f"llama.cpp refused the request: {scrub(str(error))}", status=400)
