"""Runs one script for `foreign_scripts.py`, in a process and a working folder of its own.

    python _foreign_child.py --serve     # jobs on stdin, each in a fork; for another Python than that of `foreign_scripts.py`

A job is SCRIPT ENDPOINT RESULT [--real] [--stand-ins]. `crewai` is Oarlock (with `--real`, what is installed). All models are the scripted one at ENDPOINT on 127.0.0.1, whatever
provider a script names; nothing else on the network is there.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import json
import os
import runpy
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from _foreign_sequel import go_on

refused: list[str] = []
asked: list[str] = []  # the models that were asked


class NetworkOffError(OSError):
    """A script wanted to reach something outside this machine."""


def serve() -> None:
    """Import CrewAI, then run each job that comes in, and answer with its exit code, `null` if it did not end in time."""
    import crewai  # noqa: F401

    for line in sys.stdin:
        *job, seconds = json.loads(line)
        process = os.fork()
        if not process:
            in_fork(*job)
        print(json.dumps(_ended(process, seconds)), flush=True)


def _ended(process: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(process, os.WNOHANG)[0]:
            return 0
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def in_fork(arguments: list[str], folder: str, environment: dict[str, str], typed: str) -> None:
    """Run a job in a process that has been forked with everything imported, which takes a tenth of the time."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    Path(typed).write_text("\n" * 200, encoding="utf-8")  # a human who accepts everything
    os.dup2(os.open(typed, os.O_RDONLY), 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  multiprocessing has closed it
    run_job(*arguments)


def run_job(script: str, endpoint: str, result: str, *options: str) -> None:
    """Run a script, write to the file `result` what became of it, and end this process."""
    _switch_network_off()
    if "--real" not in options:
        _put_oarlock_in_place(endpoint, "--stand-ins" in options)
    sys.argv = [script]
    error: BaseException | None = None
    names: Mapping[str, Any] = {}
    told: dict[str, Any] = {"used": "", "refused": refused}
    try:
        names = _run(Path(script))
    except SystemExit as end:
        error = end if end.code else None
    except BaseException as problem:
        error = problem
    if error is None and not asked and "--real" not in options:
        try:
            told["used"] = go_on(names)
        except BaseException as problem:
            told["used_error"] = _described(problem)
    Path(result).write_text(json.dumps({**told, "error": error and _described(error)}), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # threads that a script has left do not keep us


def _run(script: Path) -> Mapping[str, Any]:
    """Run a script, and return what it has left behind."""
    if script.stat().st_size and "__main__" not in script.read_text(encoding="utf-8") and script.name == "main.py":
        names = runpy.run_path(str(script), run_name="main")
        if run := names.get("run"):  # a project that `crewai run` would run
            run()
        return names
    code = compile(script.read_bytes(), str(script), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    sys.modules["__main__"] = module = ModuleType("__main__")
    module.__file__ = str(script)
    _execute(code, vars(module))
    return vars(module)


def _execute(code: CodeType, names: dict[str, Any]) -> None:
    made = eval(code, names)
    if made is not None:  # an `await` outside a function, as notebooks allow it
        asyncio.run(made)


def _described(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "type": type(error).__name__,
        "family": [cls.__name__ for cls in type(error).__mro__],
        "message": str(error)[:2000],
        "module": getattr(error, "name", None) if isinstance(error, ImportError) else None,
        "traceback": "".join(traceback.format_exception(error))[-6000:],
        "file": frames[-1].filename if frames else "",
    }


def _switch_network_off() -> None:
    resolve = socket.getaddrinfo

    def only_here(host: Any, *args: Any, **options: Any) -> Any:
        if str(host) in ("127.0.0.1", "localhost", "::1", "None"):
            return resolve(host, *args, **options)
        refused.append(str(host))
        raise NetworkOffError(f"the network is off: {host}")

    socket.getaddrinfo = only_here


def _put_oarlock_in_place(endpoint: str, stand_ins: bool) -> None:
    from oarlock.compat import install_as_crewai
    from oarlock.llms import http
    from oarlock.llms.presets import PRESETS

    http.make_transport = lambda *args, **options: Redirected(endpoint)  # type: ignore[assignment]
    for preset in PRESETS.values():
        for variable in preset.key_variables:
            os.environ.setdefault(variable, "scripted")
        for variable in preset.url_variables[:1] if not preset.base_url else ():
            os.environ.setdefault(variable, "https://resource.example.com")
    install_as_crewai(force=True)
    _redirect_requests(endpoint)
    if stand_ins:
        sys.meta_path.insert(0, StandIns())


class Redirected:
    """Sends what is meant for any provider to the scripted model."""

    def __init__(self, endpoint: str) -> None:
        from oarlock.transport import make_transport

        self._transport = make_transport()
        self._url = f"{endpoint}/chat/completions"

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._transport, verb)

        def redirected(*request: Any) -> Any:
            asked.extend(one.url for one in request)
            return method(*(dataclasses.replace(one, url=self._url) for one in request))

        return redirected


def _redirect_requests(endpoint: str) -> None:
    """Send the chat requests of scripts with an LLM of their own to the scripted model, too."""
    from requests import adapters

    send = adapters.HTTPAdapter.send

    def redirected(self: Any, request: Any, **options: Any) -> Any:
        if request.body and b"messages" in (request.body if isinstance(request.body, bytes) else request.body.encode()):
            request.url = f"{endpoint}/chat/completions"
            asked.append("requests")
        return send(self, request, **options)

    adapters.HTTPAdapter.send = redirected  # type: ignore[method-assign]


class StandIns:
    """Lets `from crewai_tools import AnyTool` give a tool that answers at once, where Oarlock has none of that name."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, is_package=True) if name == "crewai_tools" else None

    def create_module(self, spec: Any) -> ModuleType:
        module = ModuleType(spec.name)
        module.__getattr__ = self._tool  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing more."""

    def _tool(self, name: str) -> Any:
        from importlib import import_module

        from oarlock import tool

        try:
            return getattr(import_module("oarlock.compat.crewai_tools"), name)
        except (ImportError, AttributeError):
            if not name.endswith(("Tool", "Tools")):
                raise AttributeError(name) from None

        def look(query: str = "") -> str:
            """Look something up."""
            return f"A scripted result for {query}."

        return lambda *args, **options: tool(name)(look)


if __name__ == "__main__":
    serve()
