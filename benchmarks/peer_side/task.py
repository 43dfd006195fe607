"""What every peer is asked, the tool that it has for it, and how its driver is loaded. Imports next to nothing."""

from __future__ import annotations

import itertools
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

PROMPT = "What is 40 + 2? Answer with one sentence."
ANSWER = "The answer is 42."
TOKENS = 1000
STREAMED = "word " * TOKENS

_uses = itertools.count()


def add(a: int, b: int) -> int:
    """Add two numbers."""
    if (a, b) == (40, 2):
        next(_uses)  # in one step, whichever threads there are
    return a + b


def uses_of_tool() -> int:
    """How often `add` was called rightly, up to now."""
    return int(repr(_uses)[6:-1])


def load_peer(name: str, url: str) -> Any:
    """Make the peer of `peers/NAME.py`, under a name that hides no package."""
    path = Path(__file__).parents[1] / "peers" / f"{name}.py"
    loader = SourceFileLoader(f"peer_{name}", str(path))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module.Peer(url, add)
