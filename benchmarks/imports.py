"""CPU milliseconds of `import oarlock` over a bare interpreter, and which heavy packages it pulled in."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from _measure import children_cpu_seconds, compiled_modules, medians, print_table

SNIPPETS = {
    "bare interpreter": "pass",
    "import oarlock": "import oarlock",
    "and its main names": "from oarlock import Agent, BaseLLM, ChatLLM, Crew, Task, tool",
}
HEAVY = ("pydantic", "httpx2", "pyreqwest", "typer", "rich", "yaml", "asyncio")


def fresh(code: str, environment: dict[str, str]) -> Callable[[], int]:
    """Return a case that runs `code` in a new interpreter."""

    def run() -> int:
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return 1

    return run


def heavy_after(code: str) -> str:
    """Return which of the heavy packages are loaded after `code`."""
    listing = f"{code}\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    output = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True).stdout
    return ", ".join(output.split()) or "none"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=21, metavar="N", help="interpreters a case")
    parser.add_argument("--root-only", action="store_true", help="only `import oarlock`, not its main names")
    options = parser.parse_args()
    snippets = dict(list(SNIPPETS.items())[:2] if options.root_only else SNIPPETS)
    with compiled_modules() as environment:
        cases = {name: fresh(code, environment) for name, code in snippets.items()}
        costs = medians(cases, repeats=options.repeats, clock=children_cpu_seconds)
    bare = costs["bare interpreter"]
    rows = [["case", "CPU ms", "over bare", "heavy packages loaded"]]
    for name, cost in costs.items():
        rows.append([name, f"{cost * 1000:.1f}", f"{(cost - bare) * 1000:.1f}", heavy_after(snippets[name])])
    print_table("Importing", rows)
