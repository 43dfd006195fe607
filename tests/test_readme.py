"""The README's examples run."""

from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).parent.parent


EXAMPLES = list(find_examples(str(ROOT / "README.md")))
_names: dict[str, object] = {}  # the README's blocks build on one another


@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_readme(example: CodeExample, eval_example: EvalExample):
    if example.prefix != "python":
        pytest.skip("a command, not Python")
    eval_example.set_config(
        line_length=120, target_version="py311", ruff_ignore=["D", "SIM115", "PTH123", "F401", "F821", "I001", "T201"]
    )
    eval_example.lint_ruff(example)
    _names.update(eval_example.run_print_check(example, module_globals=_names))
