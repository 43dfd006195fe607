"""A fixed key in a header or in the query."""

from __future__ import annotations

import copy
import pickle
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from auth_helpers import REQUEST, header, sign
from hypothesis import given
from hypothesis import strategies as st

from oarlock.auth import ApiKey, Auth
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


def test_a_bearer_by_default() -> None:
    (sent,) = sign(ApiKey("k")).sent
    assert header(sent) == "Bearer k"
    assert (sent.method, sent.url, sent.body) == (REQUEST.method, REQUEST.url, REQUEST.body)
    assert header(sent, "accept") == "*/*"


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({"header": "x-api-key"}, "x-api-key", "k"),
        ({"header": "AUTHORIZATION"}, "authorization", "Bearer k"),
        ({"header": "Authorization", "prefix": ""}, "authorization", "k"),
        ({"prefix": "Token "}, "authorization", "Token k"),
        ({"header": "x-key", "prefix": "ApiKey "}, "x-key", "ApiKey k"),
    ],
)
def test_headers_and_prefixes(settings: dict[str, str], name: str, value: str) -> None:
    (sent,) = sign(ApiKey("k", **settings)).sent
    assert header(sent, name) == value


def test_it_takes_the_place_of_a_header_of_that_name() -> None:
    request = HttpRequest(method="POST", url="https://llm.invalid", headers=(("AUTHORIZATION", "Bearer old"),))
    (sent,) = sign(ApiKey("k"), request=request).sent
    assert sent.headers == (("Authorization", "Bearer k"),)


@given(VISIBLE, VISIBLE, st.sampled_from(["https://llm.invalid/v1", "https://llm.invalid/v1?api-version=2"]))
def test_in_the_query(name: str, key: str, url: str) -> None:
    request = HttpRequest(method="POST", url=url, headers=REQUEST.headers, body=b"x", timeout=3)
    (sent,) = sign(ApiKey(key, query=name), request=request).sent
    fields = parse_qs(urlsplit(sent.url).query)
    assert fields.pop(name)[-1] == key
    assert fields in ({}, {"api-version": ["2"]})
    assert (sent.headers, sent.body, sent.timeout) == (REQUEST.headers, b"x", 3)


def test_it_is_sent_once_whatever_the_answer() -> None:
    assert len(sign(ApiKey("k"), statuses=[401]).sent) == 1


def test_a_secret_and_blanks_around() -> None:
    assert header(sign(ApiKey(Secret("k"))).sent[0]) == "Bearer k"
    assert header(sign(ApiKey("  k\n")).sent[0]) == "Bearer k"


@pytest.mark.parametrize("key", ["", "  ", None, 5, b"k", ["k"]])
def test_no_key(key: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"ApiKey: the credential is .* It must be a non-empty text"):
        ApiKey(key)


@pytest.mark.parametrize("key", ["a\r\nx-evil: 1", "a\nb", "a\x00b", "schlüssel", "a\u2028b", "\ud800"])
def test_what_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="HTTP headers cannot carry") as caught:
        ApiKey(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("name", ["", "x y", "x:y", "x\r\ny", "schlüssel", "x\x00", 5])
def test_header_names(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no valid name of a header"):
        ApiKey("k", header=name)


@pytest.mark.parametrize("prefix", ["Bearer\r\nx-evil: 1 ", "x\n", "ü", 5])
def test_prefixes_that_no_header_can_carry(prefix: Any) -> None:
    with pytest.raises(ConfigurationError, match="prefix must be a text that a header can carry"):
        ApiKey("k", prefix=prefix)


@pytest.mark.parametrize("settings", [{"header": "x"}, {"prefix": "x"}])
def test_a_header_or_a_query(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        ApiKey("k", query="key", **settings)


@pytest.mark.parametrize("query", ["", 5])
def test_names_of_query_parameters(query: Any) -> None:
    with pytest.raises(ConfigurationError, match="query must be the name of a query parameter"):
        ApiKey("k", query=query)


def test_it_shows_where_and_not_what() -> None:
    assert repr(ApiKey("canary")) == "ApiKey(header='Authorization')"
    assert repr(ApiKey("canary", query="key")) == "ApiKey(query='key')"
    assert "canary" not in str(vars(ApiKey("canary")))
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(ApiKey("canary"))


def test_copies_work() -> None:
    assert header(sign(copy.deepcopy(ApiKey("k"))).sent[0]) == "Bearer k"
    assert isinstance(ApiKey("k"), Auth)
