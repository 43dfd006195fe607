"""The doctor's words on the terminal: a line for each step as it is done, and what it comes to."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oarlock.cli.doctor.case import Patient
from oarlock.cli.doctor.examine import MOST_REQUESTS
from oarlock.cli.doctor.report import Examination, Outcome, Step
from oarlock.llms.http import HttpLLM

__all__ = ["Shown"]

_WORDS: dict[Outcome, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "bold red"),
    "skipped": ("skipped", "dim"),
}
_NAME = 17  # the longest name of a step, and a blank


class Shown:
    """Writes to a console: columns on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._untried: list[Step] = []

    def begin(self, patient: Patient) -> None:
        """Say what comes, and what it costs."""
        self._line(f"Examining {patient.name}")
        if isinstance(patient.llm._bare()[0], HttpLLM):  # noqa: SLF001
            said = f"At most {MOST_REQUESTS} small requests, each sent once, and those of the sign-in; nothing else is contacted."
        else:
            said = "It is asked four small questions at most; where they go is up to its own code."
        self._line(said)
        self._line("")

    def step(self, step: Step) -> None:
        """Show one step. Those that were not tried wait, to share one line."""
        if "blamed" in step.facts:
            self._untried.append(step)
            return
        self._show_untried()
        self._show(_WORDS[step.outcome], step.name.replace("_", " "), step.saw, step.advice)

    def _show_untried(self) -> None:
        steps, self._untried = self._untried, []
        if steps:
            names = ", ".join(step.name.replace("_", " ") for step in steps)
            count = f"{len(steps)} steps" if len(steps) > 1 else "1 step"
            self._show(_WORDS["skipped"], count, f"{steps[0].saw.rstrip('.')}: {names}.", "")

    def _show(self, word_and_style: tuple[str, str], name: str, saw: str, advice: str) -> None:
        word, style = word_and_style
        if not self._console.is_terminal:
            self._line(f"{word:<8} {name:<{_NAME}} {saw}")
            if advice:
                self._line(f"{'':8} {'':{_NAME}} -> {advice}")
            return
        table = Table.grid(padding=(0, 1))
        table.add_column(width=8, style=style)
        table.add_column(width=_NAME)
        table.add_column(ratio=1, overflow="fold")
        table.add_row(word, name, escape(saw), style="dim" if style == "dim" else None)
        if advice:
            table.add_row("", "", f"[{style}]->[/] {escape(advice)}")
        self._console.print(table)

    def end(self, examination: Examination) -> None:
        """Say what it comes to, and give the code."""
        self._show_untried()
        counts = Counter(step.outcome for step in examination.steps)
        said = ", ".join(
            f"{counts[outcome]} {word.lower()}" for outcome, (word, _) in _WORDS.items() if counts[outcome]
        )
        sent = f"; {examination.requests} requests" if examination.requests or examination.sign_in_requests else ""
        aside = f" and {examination.sign_in_requests} for the sign-in" if examination.sign_in_requests else ""
        self._line("")
        self._line(f"{said}{sent}{aside}.")
        if examination.ok:
            self._line("All that it claims works.", "green")
        else:
            causes = " and ".join(step.name.replace("_", " ") for step in examination.failures)
            self._line(f"Look at: {causes}.", "bold red")
        if examination.code is not None:
            self._line("")
            self._line("An LLM like this, in Python:" if examination.ok else "What does work, in Python:")
            self._line("")
            self._console.print(examination.code, markup=False, soft_wrap=True)

    def _line(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style if self._console.is_terminal else None, markup=False, soft_wrap=True)
