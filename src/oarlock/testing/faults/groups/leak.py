"""Faults that try to carry a credential, a prompt or a cookie away, or to make the client print them."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import quote, urlsplit

from oarlock.testing.faults import answers
from oarlock.testing.faults.catalog import ANSWER
from oarlock.testing.faults.catalog import fault as _fault
from oarlock.testing.faults.connection import Connection

fault = partial(_fault, group="leak")

BAD = "BadRequestError"
SHAPE = "ResponseFormatError"
KEY = "AuthenticationError"


def _redirect(connection: Connection, status: int, target: str) -> None:
    connection.answer(b"", status=status, headers=[("Location", target)])


def _other(connection: Connection, scheme: str = "http", host: str = "127.0.0.1") -> str:
    """Return the chat address at the other origin, written in this way."""
    return f"{scheme}://{host}:{urlsplit(connection.other_url).port}/v1/chat/completions"


def _redirects(status: int) -> Callable[[Connection], None]:
    return lambda connection: _redirect(connection, status, _other(connection))


for _status in (301, 302, 303, 307, 308):
    fault(f"Redirects to another port with {_status}.", name=f"redirect_{_status}", expect=BAD)(_redirects(_status))


@fault("Redirects to another host.", expect=BAD)
def redirect_to_host(connection: Connection) -> None:
    _redirect(connection, 307, _other(connection, host="localhost"))


@fault("Redirects from http:// to https:// at another port.", expect=BAD)
def redirect_to_https(connection: Connection) -> None:
    _redirect(connection, 308, _other(connection, scheme="https"))


@fault("Redirects from https:// to http://.", expect=BAD, tls=True)
def redirect_from_https(connection: Connection) -> None:
    _redirect(connection, 307, _other(connection))


@fault("Redirects to itself, for ever.", expect=BAD)
def redirect_loop(connection: Connection) -> None:
    assert connection.request is not None
    _redirect(connection, 307, connection.request.path)


@fault("Redirects to another path of the same origin.", expect=BAD)
def redirect_to_path(connection: Connection) -> None:
    _redirect(connection, 308, "/v2/chat/completions")


@fault("Redirects without saying where to.", expect=BAD)
def redirect_nowhere(connection: Connection) -> None:
    connection.answer(b"", status=302)


@fault("Redirects to a file of the client's machine.", expect=BAD)
def redirect_to_file(connection: Connection) -> None:
    _redirect(connection, 302, "file:///etc/passwd")


@fault("Redirects to an address without a scheme, at another port.", expect=BAD)
def redirect_without_scheme(connection: Connection) -> None:
    _redirect(connection, 307, _other(connection).removeprefix("http:"))


@fault("Redirects to an address that is none.", expect=BAD)
def redirect_to_garbage(connection: Connection) -> None:
    _redirect(connection, 307, "http://[::1:80/\\@%%")


@fault("Redirects to a host whose name holds the credential.", expect=BAD)
def redirect_with_credential(connection: Connection) -> None:
    _redirect(connection, 307, f"http://{connection.credential}@127.0.0.1:1/?key={connection.credential}")


@fault("Redirects to a host named like the credential.", expect=BAD)
def redirect_to_credential(connection: Connection) -> None:
    _redirect(connection, 307, f"http://{connection.credential}.attacker.example/v1")


@fault("Redirects by the `Refresh` header of a good answer.")
def refresh_header(connection: Connection) -> None:
    connection.answer(headers=[("Refresh", f"0; url={_other(connection)}"), ("Content-Location", _other(connection))])


@fault("Offers another port as an alternative (`Alt-Svc`) in a good answer.")
def alt_svc(connection: Connection) -> None:
    port = urlsplit(connection.other_url).port
    connection.answer(headers=[("Alt-Svc", f'http/1.1=":{port}"; ma=86400, h2=":{port}"; ma=86400')])


@fault("Says that only another port may be used (305 Use Proxy).", expect=BAD)
def use_proxy(connection: Connection) -> None:
    _redirect(connection, 305, connection.other_url)


@fault("Demands that the client signs in to a proxy (407).", expect=BAD)
def proxy_sign_in(connection: Connection) -> None:
    connection.answer(b"", status=407, headers=[("Proxy-Authenticate", 'Basic realm="proxy"')])


@fault("Demands a password (401, Basic), as browsers know it.", expect=KEY, requests=2)
def basic_sign_in(connection: Connection) -> None:
    connection.answer(b"", status=401, headers=[("WWW-Authenticate", 'Basic realm="models"')])


@fault("Sets a cookie with a 503, then answers.", requests=2)
def cookie_once(connection: Connection) -> None:
    cookie = ("Set-Cookie", "session=tracked; Path=/; Max-Age=86400")
    if connection.turn:
        connection.answer(headers=[cookie])
    else:
        connection.answer(answers.error("Not now."), status=503, headers=[cookie])


@fault("Repeats the credential in the message of a 401.", expect=KEY, requests=2)
def echo_in_error(connection: Connection) -> None:
    connection.answer(answers.error(f"Incorrect API key provided: {connection.credential}."), status=401)


@fault("Repeats the credential bare in the message of a 400.", expect=BAD)
def echo_in_refusal(connection: Connection) -> None:
    connection.answer(answers.error(f"What is {connection.credential} supposed to mean?"), status=400)


@fault("Repeats the request's headers as text in a 500.", expect="ServerError")
def echo_in_traceback(connection: Connection) -> None:
    assert connection.request is not None
    lines = "\n".join(f"  {name} => {value!r}" for name, value in connection.request.headers.pairs())
    connection.answer(f"Traceback:\n{lines}\nKeyError", status=500, headers=[("Content-Type", "text/plain")])


@fault("Repeats the credential in the title of a page of HTML, with a 403.", expect="PermissionDeniedError")
def echo_in_html(connection: Connection) -> None:
    page = f"<html><title>No access for {connection.credential}</title></html>"
    connection.answer(page, status=403, headers=[("Content-Type", "text/html")])


@fault("Repeats the credential as the error's code and type.", expect=BAD)
def echo_in_code(connection: Connection) -> None:
    connection.answer(answers.error("No.", code=connection.credential, kind=connection.credential), status=400)


@fault("Repeats the credential in the headers of a 400.", expect=BAD)
def echo_in_headers(connection: Connection) -> None:
    names = ("X-Request-Id", "Request-Id", "WWW-Authenticate", "Retry-After", "Server")
    connection.answer(answers.error("No."), status=400, headers=[(name, connection.credential) for name in names])


@fault("Repeats the credential in the reason of the status line.", expect=BAD)
def echo_in_reason(connection: Connection) -> None:
    connection.head(f"400 {connection.credential}", [("Content-Length", "0")])


@fault("Repeats the credential in `WWW-Authenticate`, with an empty 401.", expect=KEY, requests=2)
def echo_in_challenge(connection: Connection) -> None:
    connection.answer(b"", status=401, headers=[("WWW-Authenticate", f'Bearer realm="{connection.credential}"')])


@fault("Repeats the credential in a good answer's text.")
def echo_in_answer(connection: Connection) -> None:
    connection.answer(answers.completion(answers.message(f"You sent me {connection.credential}.")))


@fault("Repeats the credential in an answer of a wrong shape.", expect=SHAPE)
def echo_in_wrong_shape(connection: Connection) -> None:
    connection.answer({"headers": {"authorization": f"Bearer {connection.credential}"}, "said": connection.credential})


@fault("Repeats the credential in a text that is no JSON.", expect=SHAPE)
def echo_in_text(connection: Connection) -> None:
    connection.answer(f"{connection.credential} is not a key that I know")


@fault("Repeats the credential as a field of a URL, in a 400.", expect=BAD)
def echo_in_url(connection: Connection) -> None:
    connection.answer(answers.error(f"access_token={quote(connection.credential)}&x=1 is wrong"), status=400)


@fault("Repeats the credential as the encoding of the body.", expect=SHAPE)
def echo_in_encoding(connection: Connection) -> None:
    connection.answer(headers=[("Content-Encoding", connection.credential)])


@fault("Repeats the credential in an error event of a stream.", expect="ServerError", stream=True)
def echo_in_event(connection: Connection) -> None:
    connection.begin_events(answers.error(f"{connection.credential} broke the model."))
    connection.end()


@fault("Repeats the credential in an event that is no JSON.", expect=SHAPE, stream=True)
def echo_in_garbage_event(connection: Connection) -> None:
    connection.begin_events(f"{connection.credential} is not JSON")
    connection.end()


@fault("Repeats the credential as the refusal of the model.", expect="RefusalError")
def echo_in_refused_answer(connection: Connection) -> None:
    connection.answer(answers.completion(answers.message(None, refusal=f"I do not serve {connection.credential}.")))


@fault("Repeats the credential in the name of a tool of a wrong shape.", expect=(ANSWER, SHAPE))
def echo_in_tool_call(connection: Connection) -> None:
    connection.answer(answers.tool_calls({"id": connection.credential, "function": {"named": connection.credential}}))
