"""The fault endpoint itself: what it can be told, what it records, how it ends."""

from __future__ import annotations

import builtins
import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from oarlock import ChatLLM
from oarlock.contract import errors
from oarlock.contract.errors import ConfigurationError
from oarlock.testing import faults
from oarlock.testing.faults import Fault, FaultServer, catalog

GROUPS = ["none", "connection", "tls", "http", "body", "shape", "status", "retry", "leak", "tools", "sse"]
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})


@pytest.fixture
def client():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def ask(client: requests.Session, server: FaultServer, **more: Any) -> requests.Response:
    return client.post(f"{server.url}/chat/completions", data=BODY, timeout=10, allow_redirects=False, **more)


def dialled(server: FaultServer) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=10)


# The list.


def test_there_are_far_more_than_eighty_in_eleven_groups():
    assert len(faults.names()) >= 400
    assert list(dict.fromkeys(faults.get(name).group for name in faults.names())) == GROUPS
    assert sum(len(faults.names(group)) for group in GROUPS) == len(faults.names())


@pytest.mark.parametrize("name", faults.names())
def test_each_says_what_it_does_and_what_is_sound(name):
    fault = faults.get(name)
    assert fault.name == name
    assert fault.does[0].isupper()
    assert fault.does.endswith(".")
    assert len(fault.does) < 120
    assert 1 <= fault.requests <= 3
    assert all(outcome == faults.ANSWER or hasattr(errors, outcome) for outcome in fault.expect)
    assert "request" in fault.good_client


def test_unknown_names_and_groups_are_told_with_what_there_is():
    with pytest.raises(ConfigurationError, match="Did you mean 'slow_body'"):
        faults.get("slowbody")
    with pytest.raises(ConfigurationError, match=r"no group 'tsl'\. There are: none, connection, tls"):
        faults.names("tsl")


def test_an_outcome_is_met_by_its_class_and_by_subclasses():
    fault = faults.get("empty_body")
    assert fault.is_met_by(errors.ResponseFormatError("No."))
    assert fault.is_met_by(errors.EmptyReply("No."))
    assert not fault.is_met_by(errors.ServerError("No."))
    assert not fault.is_met_by(None)
    assert faults.get("answer").is_met_by(None)


# Scripts.


def test_one_fault_goes_on_for_ever(client):
    with faults.serve("status_503") as server:
        assert [ask(client, server).status_code for _ in range(3)] == [503] * 3


def test_several_come_in_order_and_the_last_repeats(client):
    with faults.serve(["status_500", faults.get("status_429"), "answer"]) as server:
        assert [ask(client, server).status_code for _ in range(4)] == [500, 429, 200, 200]


def test_then_comes_after_so_many_times(client):
    with faults.serve("status_503", then="answer", times=2) as server:
        assert [ask(client, server).status_code for _ in range(4)] == [503, 503, 200, 200]
    with faults.serve(["status_500", "status_503"], then="answer") as server:
        assert [ask(client, server).status_code for _ in range(3)] == [500, 503, 200]


def test_what_begins_with_a_connection_takes_its_turn_there():
    with faults.serve(["reset_at_accept", "close_at_accept", "answer"]) as server:
        assert ChatLLM("m", server.url).call("Hi") == "Hello there."
        assert server.connections == 3
        assert len(server.requests) == 1


def test_a_fault_knows_how_often_it_has_come(client):
    with faults.serve("fail_twice") as server:
        assert [ask(client, server).status_code for _ in range(3)] == [503, 500, 200]


def test_streams_are_answered_where_they_are_asked_for():
    with faults.serve("answer") as server:
        stream = ChatLLM("m", server.url).stream("Hi")
        assert "".join(map(str, stream)) == "Hello there."
        assert stream.reply.usage.prompt_tokens == 9


def test_anything_can_be_served_over_tls(client):
    with faults.serve("status_418", tls=True) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert ask(client, server, verify=server.ca_pem).status_code == 418
        with pytest.raises(requests.exceptions.SSLError):
            ask(client, server)


@pytest.mark.parametrize(
    ("what", "settings", "said"),
    [
        ([], {}, "name at least one fault"),
        ("answer", {"times": 0}, "times must be a whole number of at least 1, not 0"),
        ("answer", {"times": True}, "not True"),
        ("answer", {"times": 1.5}, "not 1.5"),
        ("answr", {}, "Did you mean 'answer'"),
        ("refused", {"then": "answer"}, "nothing can come before or after"),
        (["answer", "refused"], {}, "nothing can come before or after"),
    ],
)
def test_settings_that_cannot_work(what, settings, said):
    with pytest.raises(ConfigurationError, match=said):
        faults.serve(what, **settings)


def test_a_port_can_be_chosen_and_may_be_taken():
    with faults.serve("answer") as server:
        port = urlsplit(server.url).port
        with pytest.raises(ConfigurationError, match=f"port {port} cannot be opened"):
            faults.serve("answer", port=port).start()
    with faults.serve("answer", port=port) as server:
        assert urlsplit(server.url).port == port


def test_a_refused_port_stays_refused():
    with faults.serve("refused") as server:
        with pytest.raises(ConnectionRefusedError):
            dialled(server)
        assert server.connections == 0


# What is recorded.


def test_requests_are_recorded(client):
    with faults.serve("answer") as server:
        ask(client, server, headers={"X-One": "1"})
        client.post(f"{server.url}/other", data=iter([b"one", b"two"]), timeout=10)
        client.get(f"{server.url}/models?x=1", timeout=10)
        first, second, third = server.requests
        assert (first.number, first.method, first.path) == (0, "POST", "/v1/chat/completions")
        assert (first.headers["x-one"], first.prompt) == ("1", "Hi")
        assert (second.body, second.json) == (b"onetwo", None)
        assert (third.method, third.path, third.body) == ("GET", "/v1/models?x=1", b"")


def test_the_other_origin_answers_and_records(client):
    with faults.serve("redirect_307") as server:
        answer = ask(client, server)
        assert answer.headers["location"] == f"{server.other_url}/chat/completions"
        assert server.other_connections == 0
        assert client.post(answer.headers["location"], data=BODY, timeout=10).status_code == 200
        assert (server.other_connections, len(server.other_requests)) == (1, 1)


def test_large_uploads_are_told_to_go_on(client):
    with faults.serve("answer") as server:
        assert ask(client, server, headers={"Expect": "100-continue"}).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"])
def test_half_a_request_or_none_does_no_harm(sent, client):
    with faults.serve("answer") as server:
        with dialled(server) as opened:
            opened.sendall(sent)
        assert ask(client, server).status_code == 200


# Faults of one's own.


@pytest.fixture
def forget():
    """Forget the faults that a test makes known."""
    before = dict(catalog._known)
    yield
    catalog._known.clear()
    catalog._known.update(before)


def test_a_fault_of_ones_own(client, forget):
    @faults.fault("Answers that it is lunch time.", expect=("ServerError", "RateLimitError"))
    def lunch(connection):
        connection.answer({"said": connection.request.prompt}, status=503, headers=[("Retry-After", "3600")])

    assert isinstance(lunch, Fault)
    assert (lunch.group, lunch.requests) == ("own", 3)
    assert lunch.good_client == "raises ServerError or raises RateLimitError; at most 3 requests"
    for served in ("lunch", lunch):
        with faults.serve(served) as server:
            answer = ask(client, server)
            assert (answer.status_code, answer.json()) == (503, {"said": "Hi"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "answer"}, "'answer' is taken"),
        ({"name": "Not Good"}, "not 'Not Good'"),
        ({"expect": "Lunch"}, "not 'Lunch'"),
        ({"expect": "ConfigurationError"}, "not 'ConfigurationError'"),
    ],
)
def test_a_fault_of_ones_own_that_cannot_be(settings, said, forget):
    with pytest.raises(ConfigurationError, match=said):
        faults.fault("Does something.", **settings)(lambda connection: None)


# Certificates.


def test_trustme_is_named_where_it_is_missing(monkeypatch):
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name == "trustme":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with faults.serve("answer") as server, pytest.raises(ConfigurationError, match=r"pip install 'oarlock\[testing\]'"):
        _ = server.ca_pem


def test_the_authoritys_file_is_removed():
    with faults.serve("answer_over_tls") as server:
        path = Path(server.ca_pem)
        assert b"BEGIN CERTIFICATE" in path.read_bytes()
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tls_self_signed", "self.signed"),
        ("tls_expired", "expired"),
        ("tls_not_yet_valid", "not yet valid"),
        ("tls_wrong_host", "IP address mismatch"),
        ("tls_unknown_authority", "unable to get local issuer|self.signed"),
        ("tls_no_intermediate", "unable to get local issuer"),
        ("tls_1_0_only", "UNSUPPORTED_PROTOCOL|unsupported protocol"),
        ("tls_1_1_only", "UNSUPPORTED_PROTOCOL|unsupported protocol"),
        ("tls_alert", "ALERT_INTERNAL_ERROR|internal error"),
        ("plain_http_on_tls_port", "WRONG_VERSION_NUMBER|wrong version|RECORD_LAYER"),
    ],
)
def test_each_certificate_is_wrong_for_the_reason_it_names(name, said):
    with faults.serve(name) as server, dialled(server) as opened:
        context = ssl.create_default_context(cafile=server.ca_pem)
        with pytest.raises(ssl.SSLError, match=said):
            context.wrap_socket(opened, server_hostname="127.0.0.1")


def test_a_client_certificate_is_demanded():
    with faults.serve("tls_client_certificate") as server, dialled(server) as opened:
        context = ssl.create_default_context(cafile=server.ca_pem)
        refusal = r"CERTIFICATE_REQUIRED|certificate required"
        with (
            context.wrap_socket(opened, server_hostname="127.0.0.1") as secured,
            pytest.raises(ssl.SSLError, match=refusal),
        ):
            secured.recv(1)


# The end.


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "oarlock-faults"}


@pytest.mark.parametrize("name", ["answer", "hang_before_answer", "hang_at_accept", "drip_headers", "endless_body"])
def test_it_ends_while_clients_are_there(name):
    before = threads()
    with faults.serve(name) as server:
        opened = dialled(server)
        opened.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        if name != "hang_at_accept":
            while not server.requests:
                pass
    with opened:
        assert threads() <= before
        with pytest.raises(ConnectionRefusedError):
            dialled(server)


def test_it_ends_in_the_middle_of_a_handshake():
    before = threads()
    with faults.serve("answer_over_tls") as server:
        opened = dialled(server)
        while not server.connections:
            pass
    with opened:
        assert threads() <= before


def test_it_is_started_once_and_stopped_as_often_as_one_likes():
    server = faults.serve("answer")
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = server.url
    assert repr(server) == "<FaultServer not started, 0 requests>"
    server.stop()
    with faults.serve("answer") as server:
        assert repr(server) == f"<FaultServer {server.url}, 0 requests>"
        with pytest.raises(RuntimeError, match="started once"):
            server.start()
    server.stop()
