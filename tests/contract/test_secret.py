"""Secrets do not show themselves, and are taken out of foreign text."""

from __future__ import annotations

import copy
import json
import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.secret import Secret, conceal, is_secret_name, scrub

KEY_TEXT = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=20, max_size=60)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkiLCJleHAiOjE3MDAwMDAwMDB9.4f1g23a12aa23b4c5d6e7f8a9b0c1d2e3f4a5b6c7d8"


class TestSecret:
    def test_it_does_not_show_itself(self) -> None:
        secret = Secret("hunter2")
        for shown in (
            repr(secret),
            str(secret),
            f"{secret}",
            f"{secret!s:>40}",
            f"{[secret]}",
            "{} {!r}".format(secret, secret),  # noqa: UP032
        ):
            assert "hunter2" not in shown
        assert secret.reveal() == "hunter2"

    def test_no_pickle_and_no_json(self) -> None:
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(Secret("hunter2"))
        with pytest.raises(TypeError):
            json.dumps(Secret("hunter2"))

    def test_copies_are_itself(self) -> None:
        secret = Secret("hunter2")
        assert copy.copy(secret) is copy.deepcopy(secret) is copy.deepcopy([secret])[0] is secret

    def test_value_semantics(self) -> None:
        assert Secret("a") == Secret("a") != Secret("b")
        assert Secret("a") != "a"
        assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
        assert Secret(Secret("a")).reveal() == "a"
        assert bool(Secret("a"))
        assert not Secret("")

    def test_no_state_to_look_into(self) -> None:
        with pytest.raises(TypeError):
            vars(Secret("hunter2"))


class TestScrub:
    @pytest.mark.parametrize(
        "form",
        [
            "Incorrect API key provided: sk-{}",
            "sk-proj-{}",
            "Authorization: Bearer {}",
            "authorization: bearer {}",
            "{{'Authorization': 'Bearer {}'}}",
            '{{"authorization": "Bearer {}"}}',
            "Authorization: Basic {}",
            "https://user:{}@host.example/v1",
            "postgresql://user:{}@host/db",
            "GET /v1?api_key={}&x=1",
            "GET /v1?key={}",
            "/cb?access_token={}&state=1",
            "client_secret={}",
            "password={}",
            "api-key: {}",
            "API key: {}",
            "x-api-key: {}",
            "ghp_{}",
            "hf_{}",
            "gsk_{}",
            "xai-{}",
            "AIzaSyD-{}",
            "AKIA{}",
            '{{"access_token": "{}"}}',
            '{{"api_key":"{}"}}',
            "{{'api_key': '{}'}}",
            '{{"client_secret" : "{}"}}',
            '{{"password": "{}"}}',
            "Authorization: {}",
            "Cookie: session={}",
            "X-Amz-Security-Token: {}",
            "Bearer\t{}",
            "Bearer\x00{}",
            "Bearer  {}",
            "Bearer%20{}",
            "https://{}@host.example/v1",
        ],
    )
    @given(key=KEY_TEXT)
    def test_credentials_are_taken_out(self, form: str, key: str) -> None:
        assert key not in scrub(form.format(key))

    @pytest.mark.parametrize(
        "form", ["token: {}", "Token {}", "invalid key '{}'", '"token": "{}"', "Incorrect API key provided: {}"]
    )
    @given(key=KEY_TEXT)
    def test_what_may_be_a_word_only_with_a_digit(self, form: str, key: str) -> None:
        assert f"{key}7" not in scrub(form.format(f"{key}7"))

    @pytest.mark.parametrize(
        "text",
        [
            "KeyboardInterrupt happened",
            "skipped-validation-step in keyword_arguments_only",
            "max_tokens: 4096, tokens=1200, prompt_tokens 12345678901234",
            "Unexpected token: } at line 1; missing key: choices",
            "basic sign-in is off",
            "https://host.example/v1/chat/completions?x=1 and a@b.example",
        ],
    )
    def test_ordinary_text_stays(self, text: str) -> None:
        assert scrub(text) == text

    def test_json_web_tokens(self) -> None:
        for text in (JWT, f"token {JWT} expired", f"'{JWT}'"):
            clean = scrub(text)
            assert not any(part in clean for part in JWT.split("."))

    @given(KEY_TEXT, st.integers(0, 1300))
    def test_also_where_the_text_is_cut(self, key: str, before: int) -> None:
        clean = scrub("x " * (before // 2) + "sk-" + key)
        assert key[:12] not in clean

    @given(st.text())
    def test_bounded_and_without_control_characters(self, text: str) -> None:
        clean = scrub(text, limit=50)
        assert len(clean) <= 50
        assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in clean)
        clean.encode()

    @given(
        st.lists(
            st.sampled_from(
                (
                    *(
                        "sk-",
                        "abcdefghijklmn1",
                        "Bearer",
                        " ",
                        ":",
                        "=",
                        '"',
                        "Authorization",
                        "api_key",
                        "token",
                        "…",
                        "\n",
                    ),
                    *("eyJ", "://", "@", "basic", "provided", ".", "-", "key", "/", "secret"),
                )
            )
            | st.text(max_size=3),
            max_size=40,
        ).map("".join)
    )
    def test_twice_is_once(self, text: str) -> None:
        assert scrub(scrub(text)) == scrub(text)

    @given(st.lists(st.sampled_from(["the", "model", "gpt-5", "is", "not", "found", "(404)"])))
    def test_ordinary_words_stay(self, words: list[str]) -> None:
        text = " ".join(words)
        assert scrub(text, limit=10_000) == text

    def test_terminal_escapes_and_newlines(self) -> None:
        assert scrub("a\x1b[31mred\x1b[0m\r\nb\u2028c\ud800") == "a [31mred [0m b c"

    def test_a_megabyte_is_cut(self) -> None:
        assert scrub("word " * 200_000).endswith("…")
        assert len(scrub("x" * 10**6)) == 300


@pytest.mark.parametrize("padding", ["", "x " * 200, "İ "])
@pytest.mark.parametrize(
    "secret", ["ghp_Ab12Cd34Ef56Gh78", "xoxb-12345678901234", "eyJhbGciOi.J9.x", "AKIAIOSFODNN7EXAMPLE"]
)
def test_a_long_text_keeps_all_but_its_credentials(secret: str, padding: str):
    text = f"  first\n\tline {padding}{secret} then\x00 ä {padding}\npassword: {'z' * 5000} end token {padding}"
    said = conceal(text)
    assert said == text.replace(secret, "…").replace("z" * 5000, "…")
    assert conceal(said) == said


def test_names_of_secrets():
    names = [
        "password",
        "db_password",
        "X-Api-Key",
        "session_token",
        "tokens",
        "max_tokens",
        "key",
        "secretary",
        "cookies",
    ]
    assert [is_secret_name(name) for name in names] == [True, True, True, True, *[False] * 5]
