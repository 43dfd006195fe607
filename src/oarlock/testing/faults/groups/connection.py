"""Faults of the connection itself."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

from functools import partial
from typing import Any

from oarlock.testing.faults import answers
from oarlock.testing.faults.catalog import ANSWER
from oarlock.testing.faults.catalog import fault as _fault
from oarlock.testing.faults.connection import Connection

fault = partial(_fault, group="connection")

LOST = "ConnectionFailedError"
LATE = "LLMTimeoutError"
_NOBODYS = "This answer belongs to nobody."
_HALF = answers.encoded(answers.completion())[:60]


@fault("Nothing listens at the port.", expect=LOST, at="never")
def refused(connection: Connection) -> None:
    raise NotImplementedError("nothing is ever connected")


@fault("Resets each connection as soon as it is made.", expect=LOST, at="accept")
def reset_at_accept(connection: Connection) -> None:
    connection.reset()


@fault("Closes each connection as soon as it is made.", expect=LOST, at="accept")
def close_at_accept(connection: Connection) -> None:
    connection.close()


@fault("Resets the connection in the middle of the request.", expect=LOST, at="accept")
def reset_in_request(connection: Connection) -> None:
    connection.read(20)
    connection.reset()


@fault("Resets the connection once it has the request.", expect=LOST)
def reset_after_request(connection: Connection) -> None:
    connection.reset()


@fault("Closes the connection once it has the request, without a word.", expect=LOST)
def close_before_answer(connection: Connection) -> None:
    connection.close()


@fault("Resets the connection in the middle of the status line.", expect=LOST)
def reset_in_status_line(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 20")
    connection.wait(0.02)
    connection.reset()


@fault("Resets the connection in the middle of the headers.", expect=LOST)
def reset_in_headers(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: applica")
    connection.wait(0.02)  # a reset overtakes what was sent just before it
    connection.reset()


@fault("Closes the connection in the middle of the headers.", expect=LOST)
def close_in_headers(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: applica")


@fault("Resets the connection in the middle of the body.", expect=LOST)
def reset_in_body(connection: Connection) -> None:
    connection.head(headers=[("Content-Type", "application/json"), ("Content-Length", "1000")])
    connection.send(_HALF)
    connection.wait(0.02)
    connection.reset()


@fault("Closes the connection in the middle of the body.", expect=LOST)
def close_in_body(connection: Connection) -> None:
    connection.head(headers=[("Content-Type", "application/json"), ("Content-Length", "1000")])
    connection.send(_HALF)


@fault("Ends its side of the connection without an answer, and goes on listening.", expect=LOST)
def half_closed(connection: Connection) -> None:
    connection.half_close()
    connection.hang()


@fault("Ends its side in the middle of the body, and goes on listening.", expect=LOST)
def half_closed_in_body(connection: Connection) -> None:
    connection.head(headers=[("Content-Type", "application/json"), ("Content-Length", "1000")])
    connection.send(_HALF)
    connection.half_close()
    connection.hang()


@fault("Takes the connection and never says a word.", expect=LATE, at="accept")
def hang_at_accept(connection: Connection) -> None:
    connection.hang()


@fault("Takes the request and never answers.", expect=LATE)
def hang_before_answer(connection: Connection) -> None:
    connection.hang()


@fault("Sends the headers and then nothing.", expect=LATE)
def hang_after_headers(connection: Connection) -> None:
    connection.head(headers=[("Content-Type", "application/json"), ("Content-Length", "1000")])
    connection.hang()


@fault("Begins to read only 0.2 s after the connection was made, then answers.", at="accept")
def slow_accept(connection: Connection) -> None:
    connection.wait(0.2)
    connection.read_request()
    connection.answer()


@fault("Answers after 0.2 s.")
def slow_answer(connection: Connection) -> None:
    connection.wait(0.2)
    connection.answer()


@fault(
    "Sends an answer before it has read the request, and closes.",
    expect=(ANSWER, LOST, "ResponseFormatError"),
    at="accept",
)
def answer_before_request(connection: Connection) -> None:
    connection.answer()
    connection.wait(0.02)


@fault("Promises to keep the connection and closes it after each answer.")
def closes_what_it_kept(connection: Connection) -> None:
    connection.answer()
    connection.reusable = False


@fault("Promises to keep the connection and resets it after each answer.")
def resets_what_it_kept(connection: Connection) -> None:
    connection.answer()
    connection.wait(0.02)
    connection.reset()


@fault("Answers twice at once; the second answer belongs to no request.")
def answers_twice(connection: Connection) -> None:
    connection.send(_whole(answers.message()) + _whole(answers.message(_NOBODYS)))
    connection.reusable = True


@fault("Sends an unasked-for answer on the kept connection before the next request.")
def answers_unasked(connection: Connection) -> None:
    connection.answer()
    connection.wait(0.02)
    connection.answer(answers.completion(answers.message(_NOBODYS)))


def _whole(said: dict[str, Any]) -> bytes:
    body = answers.encoded(answers.completion(said))
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
