"""A program that asks a peer once, from nothing: `first.py PEER call|run URL`. Prints the answer."""

from __future__ import annotations

import os
import sys

from task import PROMPT, load_peer


def ask(name: str, unit: str, url: str) -> str:
    peer = load_peer(name, url)
    arguments = (peer.make_agent(PROMPT), PROMPT) if unit == "run" else (PROMPT,)
    if hasattr(peer, unit):
        return str(getattr(peer, unit)(*arguments))
    import asyncio

    return str(asyncio.run(getattr(peer, f"a{unit}")(*arguments)))


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is not the answer
    print(ask(*sys.argv[1:]), file=answers, flush=True)
