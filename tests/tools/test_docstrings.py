"""What docstrings say of parameters, in the three styles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.tools.docstrings import parse_docstring

GOOGLE = """Get the weather.

    Ask for one city only.

    Args:
        city (str): the city,
            with its country: "Oslo, Norway"
        days: how many
        **unit (dict(str, int), optional): either

    Returns:
        days: not a parameter
    """

NUMPY = """
    Get the weather.

    Ask for one city only.

    Parameters
    ----------
    city : str
        the city,
        with its country: "Oslo, Norway"
    days
        how many
    unit : {'C', 'F'}, optional
        either

    Returns
    -------
    days : int
        not a parameter
    """

REST = """Get the weather.

    Ask for one city only.

    :param str city: the city,
        with its country: "Oslo, Norway"
    :type city: str
    :param days: how many
    :keyword unit: either
    :returns: days
    :raises ValueError: never

    More prose.
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, REST], ids=["google", "numpy", "rest"])
def test_the_three_styles_say_the_same(text: str) -> None:
    description, parameters = parse_docstring(text)
    assert description == "Get the weather.\n\nAsk for one city only."
    assert parameters == {"city": 'the city, with its country: "Oslo, Norway"', "days": "how many", "unit": "either"}


def test_prose_stays_prose() -> None:
    text = "Convert units.\n\nNote: 1 kg is 1000 g.\nUse it as follows: with care."
    assert parse_docstring(text) == (text, {})
    assert parse_docstring(None) == ("", {})


@given(st.lists(st.sampled_from(["Args:", ":param x: y", "---", "Parameters", "  a: b", "    c", "", "é", ":x:"])))
def test_any_docstring_is_read(lines: list[str]) -> None:
    description, parameters = parse_docstring("\n".join(lines))
    assert isinstance(description, str)
    assert all(parameters.values())
