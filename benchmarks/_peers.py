"""The peers of `compare.py`: their list, their environments, and their processes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIST = HERE / "peers" / "peers.toml"

QUIET = {
    "AGNO_TELEMETRY": "false",
    "ANONYMIZED_TELEMETRY": "False",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TESTING": "true",  # no question about traces after the first run, for which nobody is there
    "CREWAI_TRACING_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches a list of prices when imported
    "LITELLM_TELEMETRY": "False",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OPENAI_API_KEY": "k",  # some look for one before they look at what they were given
    "OTEL_SDK_DISABLED": "true",
    "POSTHOG_DISABLED": "1",
}
"""What keeps the peers from telling others about their runs; that it does is checked before anything is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A row of `peers.toml`, and the folder of its environment."""

    name: str
    title: str
    packages: Sequence[str]
    imports: str
    faster: Sequence[str] = ()
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What decides which versions everybody gets."""

    python: str
    exclude_newer: str


def read_peers(cache: Path, only: Sequence[str] = ()) -> tuple[Pins, list[Peer]]:
    """Read the list; `only` names those to keep, or the beginnings of their names."""
    table = tomllib.loads(LIST.read_text(encoding="utf-8"))
    pins = Pins(python=table.pop("python"), exclude_newer=table.pop("exclude-newer"))
    peers = [Peer(name=name, folder=cache / name, **row) for name, row in table.items()]
    unknown = [name for name in only if not any(peer.name.startswith(name) for peer in peers)]
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are {', '.join(peer.name for peer in peers)}")
    return pins, [peer for peer in peers if not only or peer.name.startswith(tuple(only))]


def install(peer: Peer, pins: Pins) -> dict[str, Any]:
    """Make the peer's environment unless it is there; return its size and versions, as of its plain installation."""
    note = peer.folder / "installed.json"
    wanted = [pins.python, pins.exclude_newer, *peer.packages, *peer.faster]
    ours = "." in peer.packages  # always anew: the source is what is measured
    if not ours and note.exists() and (found := json.loads(note.read_text()))["wanted"] == wanted:
        return dict(found)
    print(f"installing {peer.title} in {peer.folder}", flush=True)
    run_uv("venv", "--quiet", "--clear", "--python", pins.python, str(peer.folder))
    pip = ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(peer.python)]
    pip += ["--exclude-newer", pins.exclude_newer]
    run_uv(*pip, *(str(HERE.parent) if package == "." else package for package in peer.packages))
    found = {"wanted": wanted, **size_of(peer)}
    if peer.faster:
        run_uv(*pip, *peer.faster)
    note.write_text(json.dumps(found))
    return found


def run_uv(*arguments: str) -> None:
    """Run uv outside of this project, whose own settings are not meant for the peers."""
    subprocess.run(["uv", *arguments], check=True, cwd="/")


def site_packages(peer: Peer) -> Path:
    (folder,) = peer.folder.glob("lib/python*/site-packages")
    return folder


def size_of(peer: Peer) -> dict[str, Any]:
    """Return how much is installed, without compiled bytecode, and the versions of what was asked for."""
    folder = site_packages(peer)
    files = [path for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file()]
    versions = dict(path.name.removesuffix(".dist-info").rsplit("-", 1) for path in folder.glob("*.dist-info"))
    asked = ["oarlock" if package == "." else package.split("[")[0].replace("-", "_") for package in peer.packages]
    named = {name.replace("_", "-"): versions[name] for name in asked if name in versions}
    return {"distributions": len(versions), "mb": sum(path.stat().st_size for path in files) / 1e6, "versions": named}


def quiet_environment(home: Path) -> dict[str, str]:
    """Return the variables of the peers' processes: no telemetry, no proxies, a home of their own."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home), **QUIET}


def script(name: str) -> str:
    return str(HERE / "peer_side" / name)


class PeerError(Exception):
    """A peer's process ended, or said nothing in time."""


@dataclass(slots=True)
class Process:
    """`child.py` with one peer: takes orders, gives results."""

    process: subprocess.Popen[bytes]
    log: Path
    buffer: bytes = field(default=b"")

    def ask(self, order: dict[str, Any], *, limit: float) -> dict[str, Any]:
        """Have an order carried out.

        Raises:
            PeerError: the process ended, or needed more than `limit` seconds; it is ended then.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()
            return dict(json.loads(self.read_line(limit)))
        except OSError as error:
            raise PeerError(f"ended; see {self.log}") from error

    def read_line(self, limit: float) -> bytes:
        assert self.process.stdout is not None
        end = time.monotonic() + limit
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self.process.kill()
                raise PeerError(f"> {limit:.0f} s")
            if not (piece := os.read(self.process.stdout.fileno(), 65536)):
                raise PeerError(f"ended; see {self.log}")
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line


@contextmanager
def started(peer: Peer, url: str, home: Path, *options: str) -> Iterator[Process]:
    """Run the peer in a process of its own, in its own environment; what it prints goes to a file."""
    log = home / f"{peer.name}.log"
    command = [str(peer.python), script("child.py"), peer.name, url, *options]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        log.open("ab") as errors,
        subprocess.Popen(command, stderr=errors, env=quiet_environment(home), cwd=home, **pipes) as process,
    ):
        try:
            yield Process(process, log)
        finally:
            process.kill()


def run_fresh(peer: Peer, home: Path, arguments: Sequence[str]) -> str:
    """Run a program in a new interpreter of the peer's; return what it prints.

    Raises:
        PeerError: it failed.
    """
    with (home / f"{peer.name}.log").open("ab") as errors:
        done = subprocess.run(
            [str(peer.python), *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=quiet_environment(home),
            cwd=home,
            timeout=120,
            check=False,
        )
    if done.returncode:
        raise PeerError(f"exit code {done.returncode}; see {errors.name}")
    return done.stdout.decode()
