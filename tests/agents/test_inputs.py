"""Filling in names: one pass, text only."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock import ConfigurationError
from oarlock.agents.inputs import fill


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{topic}", "tides"),
        ("{topic} and {topic}", "tides and tides"),
        ("{{topic}}", "{topic}"),
        ("{0} {x.__class__} {x[0]} {topic!r} {topic:>9}", "{0} {x.__class__} {x[0]} {topic!r} {topic:>9}"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("{ topic }", "{ topic }"),
        ("{nested}", "{topic}"),
        ("{a-b}", "dash"),
        ("{}", "{}"),
        ("{{ topic }}", "{{ topic }}"),
    ],
)
def test_names_are_filled_and_nothing_else(template, filled):
    assert fill(template, {"topic": "tides", "nested": "{topic}", "a-b": "dash", "x": 1}, "it") == filled


def test_a_missing_name_says_what_to_do():
    with pytest.raises(ConfigurationError, match=r"The task needs an input 'b'. The inputs are: a\..*write \{\{b\}\}"):
        fill("{b}", {"a": 1}, "The task")


def test_large_values_pass():
    assert len(fill("{x}", {"x": "y" * 1_000_000}, "it")) == 1_000_000


@given(st.text(), st.text())
def test_values_are_never_looked_at_again(value, rest):
    rest = rest.replace("{", "").replace("}", "")
    assert fill("{x}" + rest, {"x": value}, "it") == value + rest


@given(st.text(alphabet="{}ax _.!:0\"'"))
def test_any_template_is_text_or_a_clear_error(template):
    with contextlib.suppress(ConfigurationError):
        assert isinstance(fill(template, {"a": "1"}, "it"), str)
