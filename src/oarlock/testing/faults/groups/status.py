"""Faults that are statuses, and bodies of errors that hurt."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

import gzip
from functools import partial

from oarlock.testing.faults import answers
from oarlock.testing.faults.bombs import gzip_bomb
from oarlock.testing.faults.catalog import fault as _fault
from oarlock.testing.faults.connection import PAUSE, Connection

fault = partial(_fault, group="status")

LATE = "LLMTimeoutError"
SHAPE = "ResponseFormatError"
BAD = "BadRequestError"
BROKEN = "ServerError"

# Status, the sound outcome, most requests. By the checklist: 408, 409, 429 and 5xx may heal, the rest does not; after a 401
# a sign-in that can be renewed is, once.
_STATUSES: tuple[tuple[int, str, int], ...] = (
    (300, BAD, 1),
    (304, BAD, 1),
    (400, BAD, 1),
    (401, "AuthenticationError", 2),
    (402, BAD, 1),
    (403, "PermissionDeniedError", 1),
    (404, BAD, 1),
    (405, BAD, 1),
    (406, BAD, 1),
    (407, BAD, 1),
    (408, LATE, 3),
    (409, BAD, 3),
    (410, BAD, 1),
    (411, BAD, 1),
    (413, BAD, 1),
    (414, BAD, 1),
    (415, BAD, 1),
    (418, BAD, 1),
    (421, BAD, 1),
    (422, BAD, 1),
    (424, BAD, 1),
    (425, BAD, 3),
    (426, BAD, 1),
    (429, "RateLimitError", 3),
    (431, BAD, 1),
    (451, BAD, 1),
    (498, BAD, 1),
    (499, BAD, 1),
    (500, BROKEN, 3),
    (501, BROKEN, 1),
    (502, BROKEN, 3),
    (503, BROKEN, 3),
    (504, BROKEN, 3),
    (507, BROKEN, 3),
    (520, BROKEN, 3),
    (522, BROKEN, 3),
    (524, BROKEN, 3),
    (529, BROKEN, 3),
    (599, BROKEN, 3),
)


def _answers(status: int, expect: str, requests: int) -> None:
    @fault(f"Answers HTTP {status}, always.", name=f"status_{status}", expect=expect, requests=requests)
    def refuse(connection: Connection) -> None:
        if status == 304:  # has no body, by definition
            connection.head(status)
        else:
            connection.answer(answers.error(f"This is {status}."), status=status)


for _status, _expect, _requests in _STATUSES:
    _answers(_status, _expect, _requests)


@fault("Answers HTTP 999, always.", expect=(SHAPE, BROKEN, BAD, "ConnectionFailedError"))
def status_999(connection: Connection) -> None:
    connection.answer(answers.error("Request denied."), status=999)


@fault("Answers HTTP 099, always.", expect=(SHAPE, BROKEN, BAD, "ConnectionFailedError"))
def status_099(connection: Connection) -> None:
    connection.answer(answers.error("What?"), status=99)
    connection.wait(PAUSE)


@fault("Answers a good body with status 202.")
def status_202(connection: Connection) -> None:
    connection.answer(answers.encoded(answers.completion()), status=202)


@fault("Answers 206 with a piece of the body.", expect=SHAPE)
def partial_content(connection: Connection) -> None:
    body = answers.encoded(answers.completion())
    connection.answer(body[:50], status=206, headers=[("Content-Range", f"bytes 0-49/{len(body)}")])


@fault("Answers 400: the messages do not fit into the model's window.", expect="ContextWindowExceededError")
def context_too_long(connection: Connection) -> None:
    said = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    connection.answer(answers.error(said, code="context_length_exceeded", kind="invalid_request_error"), status=400)


@fault("Answers 400: a filter would not let the question pass.", expect="ContentFilterError")
def question_filtered(connection: Connection) -> None:
    said = "The response was filtered due to the prompt triggering the content management policy."
    connection.answer(answers.error(said, code="content_filter", kind="invalid_request_error"), status=400)


@fault("Answers 502 with a proxy's page of HTML.", expect=BROKEN)
def status_502_html(connection: Connection) -> None:
    page = "<html><head><title>502 Bad Gateway</title></head><body><hr>nginx</body></html>"
    connection.answer(page, status=502, headers=[("Content-Type", "text/html")])


@fault("Answers 500 with an empty body.", expect=BROKEN)
def error_body_empty(connection: Connection) -> None:
    connection.answer(b"", status=500)


@fault("Answers 500 with 64 MB of body.", expect=BROKEN)
def error_body_huge(connection: Connection) -> None:
    connection.head(500, [("Content-Type", "text/plain"), ("Content-Length", str(64 * 1024 * 1024))])
    for _ in range(1024):
        connection.send(b"x" * 65536)


@fault("Answers 500 with a body without end.", expect=BROKEN)
def error_body_endless(connection: Connection) -> None:
    connection.begin(status=500, content_type="text/plain")
    connection.repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n")


@fault("Answers 500 with a body that comes byte by byte, for ever.", expect=(BROKEN, LATE))
def error_body_drip(connection: Connection) -> None:
    connection.begin(status=500, content_type="text/plain")
    connection.repeat(b"1\r\nx\r\n", pause=PAUSE)


@fault("Answers 400 with a body that comes byte by byte, for ever.", expect=(BAD, LATE))
def refusal_body_drip(connection: Connection) -> None:
    connection.begin(status=400, content_type="text/plain")
    connection.repeat(b"1\r\nx\r\n", pause=PAUSE)


@fault("Answers 500 and closes in the middle of the body.", expect=(BROKEN, "ConnectionFailedError"))
def error_body_cut(connection: Connection) -> None:
    connection.head(500, [("Content-Type", "application/json"), ("Content-Length", "1000")])
    connection.send(b'{"error": {"message": "Th')


@fault("Answers 500 with a gzip bomb.", expect=(BROKEN, "ReplyTooLarge"))
def error_body_gzip_bomb(connection: Connection) -> None:
    connection.answer(gzip_bomb(), status=500, headers=[("Content-Encoding", "gzip")])


@fault("Answers 500 with a body that is no gzip, though it says so.", expect=(BROKEN, SHAPE))
def error_body_bad_gzip(connection: Connection) -> None:
    connection.answer(b"this is no gzip", status=500, headers=[("Content-Encoding", "gzip")])


@fault("Answers 403 in gzip.", expect="PermissionDeniedError")
def error_body_gzip(connection: Connection) -> None:
    body = gzip.compress(answers.encoded(answers.error("Not for you.")), mtime=0)
    connection.answer(body, status=403, headers=[("Content-Encoding", "gzip")])


@fault("Answers 400 with 30,000 lists in each other.", expect=BAD)
def error_body_deep(connection: Connection) -> None:
    connection.answer(b"[" * 30_000, status=400)


@fault("Answers 400 with random bytes.", expect=BAD)
def error_body_garbage(connection: Connection) -> None:
    connection.answer(bytes(range(256)) * 16, status=400)


@fault("Answers 400 with terminal escapes and line breaks in the message.", expect=BAD)
def error_body_escapes(connection: Connection) -> None:
    connection.answer(answers.error("\x1b[2J\x1b]0;owned\x07Bad\r\nINFO all is well \ud83d"), status=400)


@fault("Answers 400 with an error of wrong types in each field.", expect=BAD)
def error_body_wrong_types(connection: Connection) -> None:
    body = {"error": {"message": {"a": 1}, "type": 7, "param": [], "code": {"b": 2}}}
    connection.answer(body, status=400)


@fault("Answers 422 as FastAPI does.", expect=BAD)
def error_body_fastapi(connection: Connection) -> None:
    connection.answer({"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, status=422)


@fault("Answers 503 with a message of 60 KB.", expect=BROKEN)
def error_message_long(connection: Connection) -> None:
    connection.answer(answers.error("no " * 20_000), status=503)
