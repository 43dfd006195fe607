"""Who is let in, as whom, and how much of it."""

import json
import sys
import time
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from serve_helpers import KEY, body, key, send

from oarlock import BaseLLM, ConfigurationError, current_call
from oarlock.auth import BearerToken, OnBehalfOf
from oarlock.contract.secret import Secret
from oarlock.errors import RateLimitError
from oarlock.llms.chat import ChatLLM
from oarlock.policies import Budget, RateLimit
from oarlock.serve import ApiKey, JwtCheck, create_app
from oarlock.testing import FunctionLLM, LoopbackEndpoint, ScriptedLLM

SECRET = "a secret that is shared with the issuer"


class WhoAsks(BaseLLM):
    def call(self, messages):
        user = current_call().user
        return str(getattr(user, "name", user))


def ask(app, shown=None, **fields):
    headers = {} if shown is None else {"authorization": f"Bearer {shown}"}
    return send(app, json=body(**fields), headers=headers)


def said(response):
    return response.json()["choices"][0]["message"]["content"]


def code(response):
    return response.status_code, response.json()["error"]["code"]


def test_each_key_is_somebody():
    app = create_app({"mine": WhoAsks()}, keys=[key(), key("bob", "another-key-nobody-guesses")])
    assert said(ask(app, KEY)) == "alice"
    assert said(ask(app, "another-key-nobody-guesses")) == "bob"


@pytest.mark.parametrize("shown", [None, "", "a-key-that-nobody-guessed", KEY + "x", KEY[:-1], KEY.upper()])
def test_nobody_else_is_let_in(shown):
    response = ask(create_app({"mine": WhoAsks()}, keys=[key()]), shown)
    assert code(response) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", [KEY, f"Basic {KEY}", f"bearer{KEY}", "Bearer"])
def test_the_header_must_be_a_bearers(header):
    app = create_app({"mine": WhoAsks()}, keys=[key()])
    assert code(send(app, json=body(), headers={"authorization": header})) == (401, "invalid_api_key")


def test_without_keys_everybody_is_nobody():
    assert said(ask(create_app({"mine": WhoAsks()}))) == "None"


def test_health_needs_no_key_and_the_rest_does():
    app = create_app({"mine": WhoAsks()}, keys=[key()])
    assert send(app, "GET", "/health").status_code == 200
    for path in ("/v1/models", "/v1/models/mine", "/nothing"):
        assert code(send(app, "GET", path)) == (401, "invalid_api_key")


def test_keys_come_from_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.setenv("A_KEY", KEY)
    for place in ("env:A_KEY", f"file:{tmp_path / 'key'}"):
        assert said(ask(create_app({"mine": WhoAsks()}, keys=[ApiKey("eve", place)]), KEY)) == "eve"


@pytest.mark.parametrize(
    ("name", "secret", "says"),
    [
        ("alice", KEY, "say where the key is, as env:NAME"),
        ("alice", "env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is not set"),
        ("alice", Secret("short"), "has 5 characters"),
        ("alice", Secret("a key with spaces in it"), "a header cannot carry"),
        ("", Secret(KEY), "name must be 1 to 64"),
        ("a\nb", Secret(KEY), "name must be 1 to 64"),
    ],
)
def test_a_key_that_cannot_be(name, secret, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        ApiKey(name, secret)
    assert KEY not in str(caught.value)


def test_keys_are_told_apart():
    with pytest.raises(ConfigurationError, match="two API keys of the name 'alice'"):
        create_app({"mine": WhoAsks()}, keys=[key(), key("alice", "another-key-nobody-guesses")])
    with pytest.raises(ConfigurationError, match="are the same"):
        create_app({"mine": WhoAsks()}, keys=[key(), key("bob")])


def test_no_key_is_shown_or_kept():
    one = key()
    app = create_app({"mine": WhoAsks()}, keys=[one])
    assert KEY not in f"{one!r} {vars(one)} {vars(app._ring)} {app!r}"


# Limits of each key.


def test_requests_are_limited_for_each_key():
    keys = [
        key(name, text, [RateLimit(requests_per_minute=60, burst=1, max_wait=0)])
        for name, text in (("alice", KEY), ("bob", "another-key-nobody-guesses"))
    ]
    app = create_app({"mine": WhoAsks()}, keys=keys)
    assert ask(app, KEY).status_code == 200
    refused = ask(app, KEY)
    assert code(refused) == (429, "rate_limit_exceeded")
    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("1", "true")
    assert ask(app, "another-key-nobody-guesses").status_code == 200


def test_a_budget_is_used_up():
    app = create_app({"mine": WhoAsks()}, keys=[key(policies=[Budget(requests=1)])])
    assert ask(app, KEY).status_code == 200
    refused = ask(app, KEY)
    assert code(refused) == (429, "budget_exceeded")
    assert refused.headers["x-should-retry"] == "false"


def test_a_models_limit_is_not_the_keys():
    """One model's 429 must not hold back what the same key asks of another."""
    limits = [RateLimit(requests_per_minute=600, max_wait=0), Budget(requests=2)]
    slow = ScriptedLLM([RateLimitError("slow down", status=429, retry_after=50)])
    app = create_app({"mine": slow, "other": WhoAsks()}, keys=[key(policies=limits)])
    assert ask(app, KEY).headers["retry-after"] == "50"
    assert said(ask(app, KEY, model="other")) == "alice"
    assert limits[1].spent.requests == 2


# Tokens.


def claims(**changes):
    return {"sub": "carol", "aud": "llms", "iss": "https://id.example.com", "exp": int(time.time()) + 600, **changes}


def signed(given=None, secret=SECRET, alg="HS256"):
    return jwt.encode({"alg": alg}, given or claims(), OctKey.import_key(secret), algorithms=[alg])


def checking(**settings):
    check = JwtCheck("llms", secret=Secret(SECRET), issuer="https://id.example.com", **settings)
    return create_app({"mine": WhoAsks()}, keys=[key()], tokens=check)


def test_a_good_token():
    app = checking()
    assert said(ask(app, signed())) == "carol"
    assert said(ask(app, signed(claims(aud=["others", "llms"])))) == "carol"
    assert said(ask(app, KEY)) == "alice"


@pytest.mark.parametrize(
    "token",
    [
        signed(claims(exp=int(time.time()) - 60)),
        signed({name: value for name, value in claims().items() if name != "exp"}),
        signed({name: value for name, value in claims().items() if name != "aud"}),
        signed({name: value for name, value in claims().items() if name != "sub"}),
        signed(claims(aud="others")),
        signed(claims(iss="https://evil.example.com")),
        signed(claims(nbf=int(time.time()) + 86_400)),
        signed(claims(sub="")),
        signed(claims(sub="a\nb")),
        signed(claims(sub="c" * 201)),
        signed(secret="another secret of more than thirty-two bytes"),
        signed()[:-4] + "AAAA",
        signed().rpartition(".")[0] + ".",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYXJvbCJ9.",
        "a.b.c",
        "..",
        "x" * 20_000 + ".y.z",
    ],
)
def test_a_bad_token(token):
    assert code(ask(checking(), token)) == (401, "invalid_api_key")


@pytest.mark.parametrize("kind", ["RS256", "ES256"])
def test_public_keys_come_from_a_file_and_change_with_it(tmp_path: Path, kind):
    def made():
        return RSAKey.generate_key(2048) if kind == "RS256" else ECKey.generate_key("P-256")

    def token(by):
        return jwt.encode({"alg": kind, "kid": by.kid}, claims(), by, algorithms=[kind])

    def write(by):
        (tmp_path / "jwks.json").write_text(json.dumps(KeySet([by]).as_dict(private=False)))

    old, new = made(), made()
    for one in (old, new):
        one.ensure_kid()
    write(old)
    app = create_app({"mine": WhoAsks()}, tokens=JwtCheck("llms", jwks=tmp_path / "jwks.json"))
    assert said(ask(app, token(old))) == "carol"
    assert code(ask(app, token(new))) == (401, "invalid_api_key")
    write(new)
    (tmp_path / "jwks.json").touch()
    assert said(ask(app, token(new))) == "carol"
    (tmp_path / "jwks.json").write_text("broken")
    assert said(ask(app, token(new))) == "carol"


def test_nobody_signs_with_a_public_key(tmp_path: Path):
    """The confusion of algorithms: an HMAC over the public key's text."""
    public = RSAKey.generate_key(2048)
    (tmp_path / "jwks.json").write_text(json.dumps(KeySet([public]).as_dict(private=False)))
    app = create_app({"mine": WhoAsks()}, tokens=JwtCheck("llms", jwks=tmp_path / "jwks.json"))
    forged = signed(secret=(tmp_path / "jwks.json").read_text())
    assert code(ask(app, forged)) == (401, "invalid_api_key")


@pytest.mark.parametrize("content", ["", "{}", '{"keys": []}', '{"keys": [5]}', "[]", "5", "oct"])
def test_a_file_that_is_no_set_of_public_keys(tmp_path: Path, content):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(KeySet([OctKey.generate_key(256)]).as_dict()) if content == "oct" else content)
    with pytest.raises(ConfigurationError, match=r"jwks\.json"):
        JwtCheck("llms", jwks=file)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "give either jwks"),
        ({"jwks": "a", "secret": Secret(SECRET)}, "give either jwks"),
        ({"secret": Secret("short")}, "has 5 bytes"),
        ({"secret": SECRET}, "say where the secret is"),
        ({"jwks": "not/there.json"}, "cannot be read"),
        ({"audience": "", "secret": Secret(SECRET)}, "audience must name"),
    ],
)
def test_a_check_that_cannot_be(settings, says):
    with pytest.raises(ConfigurationError, match=says):
        JwtCheck(**{"audience": "llms", **settings})


def test_it_needs_an_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'oarlock\[oauth\]'"):
        JwtCheck("llms", secret=Secret(SECRET))


def test_a_secret_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JWT_SECRET", SECRET)
    app = create_app({"mine": WhoAsks()}, tokens=JwtCheck("llms", secret="env:JWT_SECRET"))
    assert said(ask(app, signed())) == "carol"


def test_limits_are_kept_for_the_latest_subjects(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("oarlock.serve.jwt._MOST_CALLERS", 1)
    app = checking(policies=lambda name: [Budget(requests=1)])
    assert [ask(app, signed(claims(sub=name))).status_code for name in ("carol", "carol", "dave", "carol")] == [
        *(200, 429, 200, 200)
    ]


def test_each_subject_has_limits_of_its_own():
    app = checking(policies=lambda name: [Budget(requests=1)])
    assert [ask(app, signed()).status_code for _ in range(2)] == [200, 429]
    assert ask(app, signed(claims(sub="dave"))).status_code == 200


def test_the_model_can_be_asked_as_the_caller():
    with LoopbackEndpoint(lambda request: request.headers["authorization"]) as endpoint:
        sign_in = OnBehalfOf(lambda user: BearerToken(f"for-{user.name}-{len(user.token.reveal())}"))
        llm = ChatLLM("m", endpoint.url, auth=sign_in)
        check = JwtCheck("llms", secret=Secret(SECRET))
        app = create_app({"mine": llm}, tokens=check)
        token = signed()
        assert said(ask(app, token)) == f"Bearer for-carol-{len(token)}"


def test_a_token_is_nowhere_to_be_read():
    seen = []

    def look(messages, tools):
        seen.append(repr(current_call()) + repr(current_call().user))
        return "Hello"

    check = JwtCheck("llms", secret=Secret(SECRET))
    token = signed()
    ask(create_app({"mine": FunctionLLM(look)}, tokens=check), token)
    assert "carol" in seen[0]
    assert token not in seen[0]
    assert SECRET not in f"{check!r} {vars(check)}"
