"""`oarlock faults`: the list of the faults, and an endpoint that shows one to a client in any language."""

from __future__ import annotations

import sys
import threading

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oarlock.testing import faults


def list_faults(group: str | None) -> None:
    """Print a table of the faults: for a terminal with columns, else a line each with tabs."""
    chosen = [faults.get(name) for name in faults.names(group)]
    if not sys.stdout.isatty():
        for fault in chosen:
            print(fault.group, fault.name, fault.does, fault.good_client, sep="\t")
        return
    table = Table("Group", "Fault", "What the endpoint does", "What a good client does", box=SIMPLE_HEAD)
    for fault in chosen:
        table.add_row(fault.group, fault.name, escape(fault.does), escape(fault.good_client))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{len(chosen)} faults. One of them, to try a client: oarlock faults serve NAME", markup=False)


def serve_fault(name: str, port: int) -> None:
    """Serve one fault until Ctrl-C, then tell what came."""
    with faults.serve(name, port=port) as server:
        fault = faults.get(name)
        try:
            print(f"{fault.name}: {fault.does}")
            print(f"A good client: {fault.good_client}.")
            print(f"Base URL: {server.url}")
            if fault.tls:
                print(f"Authority to trust: {server.ca_pem}")
            print("Ctrl-C ends.", flush=True)
            threading.Event().wait()
        finally:
            print(f"{len(server.requests)} requests came over {server.connections} connections,", end=" ")
            print(f"{server.other_connections} connections to another port that no client should use.", flush=True)
