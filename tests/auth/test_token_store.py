"""Tokens that outlive the program: encrypted files, the keyring, several processes, and what goes wrong there."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import re
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring.backends.fail
import keyring.backends.null
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError
from oauth_server import SECRET, OAuthServer

from oarlock import ChatLLM
from oarlock.auth import ClientCredentials, DeviceCode, EncryptedFileStore, KeyringStore, RefreshToken, TokenStore
from oarlock.auth.renewal import Token
from oarlock.auth.store import StoredToken, stored_token
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError, LLMTimeoutError
from oarlock.contract.secret import Secret
from oarlock.testing import LoopbackEndpoint, VirtualRuntime
from oarlock.testing.virtual import EPOCH

KEY = EncryptedFileStore.new_key()


class Memory(KeyringBackend):
    """A keyring in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError("not there")


@pytest.fixture(params=["file", "keyring"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    return KeyringStore(backend=Memory()) if request.param == "keyring" else EncryptedFileStore(tmp_path / "t", KEY)


@pytest.fixture(scope="module")
def running() -> Iterator[OAuthServer]:
    with OAuthServer() as server:
        yield server


@pytest.fixture
def server(running: OAuthServer) -> OAuthServer:
    running.forms.clear()
    running.refresh.clear()
    running.granted.clear()
    return running


def ask(server: OAuthServer, auth: Any) -> str:
    with LoopbackEndpoint("Hello.", auth=server.check) as endpoint:
        return str(ChatLLM("m", endpoint.url, auth=auth).call("Hi"))


def stored(store: TokenStore, key: str = "k") -> StoredToken:
    return StoredToken("X", store, key)


def token(text: str = "t", **facts: Any) -> Token:
    return Token(secret=Secret(text), **facts)


# What a store does.


@given(st.text(min_size=1), st.text(min_size=1))
def test_what_is_saved_is_there(tmp_path_factory: pytest.TempPathFactory, key: str, value: str) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    for store in (EncryptedFileStore(folder, KEY), KeyringStore(backend=Memory())):
        key, value = (text.encode("utf-8", "replace").decode() for text in (key, value))
        assert store.load(key) is None
        store.delete(key)
        store.save(key, Secret("before"))
        store.save(key, Secret(value))
        assert store.load(key) == Secret(value)
        assert store.load(key + "x") is None
        store.delete(key)
        assert store.load(key) is None


def test_both_are_stores(store: TokenStore) -> None:
    assert isinstance(store, TokenStore)
    assert copy.deepcopy(store) is store


@given(
    st.text(min_size=1),
    st.floats(0, 1e12) | st.just(float("inf")),
    st.dictionaries(st.text(), st.text(min_size=1)),
)
def test_a_token_comes_back_as_it_was(secret: str, expires_at: float, extras: dict[str, str]) -> None:
    place, runtime = stored(KeyringStore(backend=(memory := Memory()))), VirtualRuntime()
    both = {**{f"s{name}": Secret(value) for name, value in extras.items()}, **extras}
    kept = token(secret, expires_at=expires_at, extras={"n": 5, **both})
    runtime.run(place.save(runtime, None, kept))
    assert runtime.run(place.news(runtime, None)) is None  # it was put there by ourselves
    back = runtime.run(stored(KeyringStore(backend=memory)).news(runtime, None))
    assert back is not None
    assert (back.secret, back.expires_at) == (kept.secret, kept.expires_at)
    assert back.extras == {name: value for name, value in kept.extras.items() if value != 5}


# Through the sign-ins.


def test_a_program_that_starts_again_needs_no_new_token(server: OAuthServer, store: TokenStore) -> None:
    for _ in range(3):
        auth = ClientCredentials(server.token_url, "basic", SECRET, scope="llm.use", store=store)
        assert ask(server, auth) == "Hello."
    assert len(server.forms) == 1
    assert ask(server, ClientCredentials(server.token_url, "basic", SECRET, store=store)) == "Hello."  # another scope
    assert len(server.forms) == 2


def test_a_stored_token_that_is_refused_or_expired_is_replaced(server: OAuthServer, store: TokenStore) -> None:
    def auth() -> ClientCredentials:
        return ClientCredentials(server.token_url, "basic", SECRET, store=store)

    ask(server, auth())
    server.withdraw_all()
    assert ask(server, auth()) == "Hello."
    assert len(server.forms) == 2
    with VirtualRuntime(start=10**9):
        assert ask(server, auth()) == "Hello."
    assert len(server.forms) == 3


def test_a_rotated_refresh_token_survives(server: OAuthServer, store: TokenStore) -> None:
    first = server.issue_refresh_token("public")
    for _ in range(4):
        auth = RefreshToken(server.token_url, "public", first, store=store)
        assert ask(server, auth) == "Hello."
        server.withdraw_all()
        assert ask(server, auth) == "Hello."
    used = [form["refresh_token"] for form in server.forms]
    assert len(set(used)) == len(used) >= 5


def test_two_processes_with_one_refresh_token(server: OAuthServer, store: TokenStore) -> None:
    """One uses it up; the other finds the newer one in the store."""
    first = server.issue_refresh_token("public")
    one, two = (RefreshToken(server.token_url, "public", first, store=store) for _ in range(2))
    with VirtualRuntime() as runtime:
        assert ask(server, one) == ask(server, two) == "Hello."
        assert len(server.forms) == 1
        for auth in (one, two, two, one):
            runtime.advance(4000)
            assert ask(server, auth) == "Hello."
    assert len({form["refresh_token"] for form in server.forms}) == len(server.forms) == 5


def test_two_processes_that_refresh_at_the_same_moment(server: OAuthServer, store: TokenStore) -> None:
    first = server.issue_refresh_token("public")
    other = RefreshToken(server.token_url, "public", first, store=store)

    class Late(RefreshToken):
        async def grant(self, *args: Any) -> dict[str, str]:
            form = await super().grant(*args)
            if not server.forms:
                ask(server, other)  # between the look into the store and the request
            return form

    Late.__name__ = "RefreshToken"
    assert ask(server, Late(server.token_url, "public", first, store=store)) == "Hello."
    assert len(server.forms) == 3  # the other's, ours in vain, ours with the newer token


def test_a_dead_refresh_token_leaves_the_store(server: OAuthServer, store: TokenStore) -> None:
    first = server.issue_refresh_token("public")
    auth = RefreshToken(server.token_url, "public", first, store=store)
    ask(server, auth)
    server.refresh.clear()
    server.withdraw_all()
    with pytest.raises(AuthenticationError, match="did not accept the refresh token"):
        ask(server, auth)
    again = stored_token("RefreshToken", store, server.token_url, "public", None, None, None, first)
    assert again is not None
    runtime = VirtualRuntime()
    assert runtime.run(again.news(runtime, None)) is None


def test_nobody_gets_anothers_token(server: OAuthServer, store: TokenStore) -> None:
    for user in ("ada", "bob"):
        refresh = server.issue_refresh_token("public", user)
        auth = RefreshToken(server.token_url, "public", refresh, store=store)
        ask(server, auth)
        assert auth._renewal.token is not None
        assert server.claims(auth._renewal.token.secret.reveal())["sub"] == user


def test_a_person_signs_in_once(server: OAuthServer, store: TokenStore) -> None:
    prompts: list[Any] = []

    def auth(account: str) -> DeviceCode:
        def prompt(text: Any) -> None:
            prompts.append(text)
            server.decide(user=account)

        url, device = server.token_url, server.device_url
        return DeviceCode(device, url, "public", prompt=prompt, store=store, account=account)

    with VirtualRuntime() as runtime:
        for account in ("ada", "bob", "ada", "bob"):
            assert ask(server, auth(account)) == "Hello."
        assert len(prompts) == 2
        runtime.advance(3600)
        assert ask(server, auth("ada")) == "Hello."  # by the stored refresh token
        assert len(prompts) == 2
        runtime.advance(3600)
        server.refresh.clear()
        assert ask(server, auth("ada")) == "Hello."
    assert len(prompts) == 3


# What goes wrong there.


class Broken(Memory):
    def __init__(self, error: BaseException, *methods: str) -> None:
        super().__init__()
        self._error, self._methods = error, methods

    def get_password(self, service: str, username: str) -> str | None:
        self._perhaps("get")
        return super().get_password(service, username)

    def set_password(self, service: str, username: str, password: str) -> None:
        self._perhaps("set")
        super().set_password(service, username, password)

    def delete_password(self, service: str, username: str) -> None:
        self._perhaps("delete")

    def _perhaps(self, method: str) -> None:
        if method in self._methods:
            raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RuntimeError("the collection is locked"), AuthenticationError, r"be read \(RuntimeError: the collection is"),
        (TimeoutError(), LLMTimeoutError, "the token store could not be read in time"),
        (AuthenticationError("ours"), AuthenticationError, "ours"),
    ],
)
def test_a_store_that_cannot_be_read(error: Exception, kind: type[LLMError], words: str) -> None:
    store = KeyringStore(backend=Broken(error, "get"))
    runtime = VirtualRuntime()
    with pytest.raises(kind, match=words):
        runtime.run(stored(store).news(runtime, None))


def test_a_token_that_cannot_be_saved_is_good_all_the_same(
    server: OAuthServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = KeyringStore(backend=Broken(RuntimeError("disk full"), "set", "delete"))
    auth = RefreshToken(server.token_url, "public", server.issue_refresh_token("public"), store=store)
    with VirtualRuntime() as runtime:
        for _ in range(2):
            assert ask(server, auth) == "Hello."
            runtime.advance(4000)
        assert "could not be written (RuntimeError). The new token is kept in memory only." in caplog.text
        server.refresh.clear()
        with pytest.raises(AuthenticationError, match="did not accept"):
            ask(server, auth)
    assert "stays there" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", "[" * 99_999),
        '{"token": 5}',
        '{"token": "t", "expires_at": [], "secrets": {}, "texts": {}}',
        '{"token": "", "expires_at": 1, "secrets": {}, "texts": {}}',
        '{"token": "t", "expires_at": 1, "secrets": 5, "texts": 5}',
    ],
)
def test_something_else_in_the_store(text: str) -> None:
    store, runtime = KeyringStore(backend=Memory()), VirtualRuntime()
    store.save("k", Secret(text))
    with pytest.raises(AuthenticationError, match="holds under 'k' is no token: delete it and sign in again"):
        runtime.run(stored(store).news(runtime, None))


def test_a_wrong_key(server: OAuthServer, tmp_path: Path) -> None:
    ask(server, ClientCredentials(server.token_url, "basic", SECRET, store=EncryptedFileStore(tmp_path, KEY)))
    other = EncryptedFileStore(tmp_path, EncryptedFileStore.new_key())
    with pytest.raises(AuthenticationError, match="cannot be opened with this key"):
        ask(server, ClientCredentials(server.token_url, "basic", SECRET, store=other))
    assert len(server.forms) == 1


@given(st.binary(max_size=300), st.integers(0, 400))
def test_a_damaged_file(tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    store = EncryptedFileStore(folder, KEY)
    store.save("k", Secret("value" * 20))
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + damage)
    try:
        assert store.load("k") == Secret("value" * 20)  # what follows the end does no harm
    except AuthenticationError as error:
        assert re.search("cannot be opened with this key.*or delete the file", str(error))  # noqa: PT017


def test_one_file_is_not_taken_for_another(tmp_path: Path) -> None:
    store = EncryptedFileStore(tmp_path, KEY)
    store.save("ada", Secret("hers"))
    (hers,) = tmp_path.iterdir()
    store.save("bob", Secret("his"))
    (his,) = set(tmp_path.iterdir()) - {hers}
    his.write_bytes(hers.read_bytes())
    with pytest.raises(AuthenticationError, match="cannot be opened"):
        store.load("bob")


def test_files_are_for_their_owner_and_say_nothing(server: OAuthServer, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "tokens"
    first = server.issue_refresh_token("public")
    auth = RefreshToken(server.token_url, "public", first, store=EncryptedFileStore(folder, KEY))
    ask(server, auth)
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert auth._renewal.token is not None
    plain = path.read_bytes() + path.name.encode()
    for secret in (first, auth._renewal.token.secret.reveal(), *server.refresh):
        assert secret.encode() not in plain
        assert secret[8:24].encode() not in plain


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    store = EncryptedFileStore(tmp_path / "t", KEY)
    (tmp_path / "t").write_text("in the way")
    with pytest.raises(AuthenticationError, match="cannot be used: "):
        store.save("k", Secret("v"))
    for act in (store.load, store.delete):
        with pytest.raises(AuthenticationError, match="cannot be used: "):
            act("k")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EncryptedFileStore(tmp_path, KEY)
    store.save("k", Secret("old"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AuthenticationError, match="No space left"):
        store.save("k", Secret("new"))
    assert store.load("k") == Secret("old")
    assert len(list(tmp_path.iterdir())) == 1


def test_several_processes_write_and_read_at_once(tmp_path: Path) -> None:
    program = """
import sys
from oarlock.auth import EncryptedFileStore
from oarlock.contract.secret import Secret
store = EncryptedFileStore(sys.argv[1], sys.argv[2])
for number in range(30):
    store.save("k", Secret(sys.argv[3] * 2000))
    seen = store.load("k").reveal()
    assert len(seen) == 2000 and len(set(seen)) == 1, seen[:20]
"""
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), KEY, letter]) for letter in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(list(tmp_path.iterdir())) == 1


# Settings.


@pytest.mark.parametrize(
    "key",
    ["", "x", "x" * 44, None, 5, KEY.encode(), KEY[:-4], "ü" * 44],
    ids=["empty", "short", "long", "none", "number", "bytes", "cut", "umlauts"],  # the key is another in each worker
)
def test_keys_that_are_none(key: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"key must be a text from EncryptedFileStore\.new_key") as caught:
        EncryptedFileStore("tokens", key)
    assert len(str(key)) < 5 or str(key) not in str(caught.value)


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("", None, 5):
        with pytest.raises(ConfigurationError, match="folder must be the path of a folder"):
            EncryptedFileStore(folder, KEY)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="is a file: give a folder"):
        EncryptedFileStore(tmp_path / "file", KEY)


class PlaintextKeyring(Memory):
    pass


class Chained(Memory):
    backends = (PlaintextKeyring(),)


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (keyring.backends.fail.Keyring(), "there is no keyring here: use EncryptedFileStore"),
        (keyring.backends.null.Keyring(), "there is no keyring here"),
        (PlaintextKeyring(), "PlaintextKeyring writes in the clear"),
        (Chained(), "writes in the clear"),
        (5, "an int is no backend of keyring"),
    ],
)
def test_keyrings_that_are_none(backend: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        KeyringStore(backend=backend)


def test_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    monkeypatch.setattr("keyring.get_keyring", lambda: memory)
    KeyringStore("my-app").save("k", Secret("v"))
    assert memory.entries == {("my-app", "k"): "v"}
    assert repr(KeyringStore("my-app")) == "KeyringStore('my-app')"
    with pytest.raises(ConfigurationError, match="service must be a name"):
        KeyringStore("")


@pytest.mark.parametrize("store", [5, "tokens", KeyringStore, object()])
def test_stores_that_are_none(store: Any) -> None:
    with pytest.raises(ConfigurationError, match="store must be a KeyringStore, an EncryptedFileStore or"):
        ClientCredentials("https://login.example.com/token", "app", SECRET, store=store)


def test_without_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'oarlock\[keyring\]'"):
        KeyringStore()
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'oarlock\[oauth\]'"):
        EncryptedFileStore("tokens", KEY)


# No secret gets out.


def test_no_secret_is_shown(store: TokenStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canary, runtime = "canary0123456789canary", VirtualRuntime()
    kept = token(canary, expires_at=EPOCH, extras={"refresh_token": Secret(canary)})
    place = stored(store)
    runtime.run(place.save(runtime, None, kept))
    failing = stored(KeyringStore(backend=Broken(RuntimeError(f"cannot save {canary}"), "set")))
    runtime.run(failing.save(runtime, None, kept))
    texts = [repr(place), repr(vars(place)), repr(store), str(place._seen), caplog.text, repr(kept)]
    with pytest.raises(AuthenticationError) as caught:
        runtime.run(failing._do(runtime, None, "written", failing._store.save, "k", Secret(canary)))
    texts += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    shown = "\n".join(line for text in texts for line in text.splitlines() if not line.lstrip().startswith("canary = "))
    assert canary not in shown
    assert KEY not in shown
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps((place, place._seen))
    assert json.loads(json.dumps(place._key)) == "k"
