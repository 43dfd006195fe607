"""What crew.yaml names: a tool, and a guardrail."""

from pathlib import Path

from oarlock import TaskOutput, tool

CHANGES = Path(__file__).with_name("changes.txt")
LONGEST = 80  # words


@tool
def changes_of_week(week: int) -> str:
    """Give the change log of a week.

    Args:
        week: its number.
    """
    lines = [line for line in CHANGES.read_text().splitlines() if line.startswith(f"W{week:02}")]
    return "\n".join(lines) or f"Nothing changed in week {week}."


def is_short(output: TaskOutput) -> tuple[bool, str]:
    """Refuse newsletters that nobody reads to their end."""
    words = len(output.raw.split())
    return words <= LONGEST, output.raw if words <= LONGEST else f"It has {words} words. Write at most {LONGEST}."
