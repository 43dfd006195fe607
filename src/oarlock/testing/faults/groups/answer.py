"""The control: no fault at all."""

# ruff: noqa: D103  each fault says what it does in its decorator

from __future__ import annotations

from oarlock.testing.faults.catalog import fault
from oarlock.testing.faults.connection import Connection


@fault("Answers well; streams where that is asked for.", group="none")
def answer(connection: Connection) -> None:
    connection.answer()


@fault("Answers well over TLS, with a certificate of the authority in `ca_pem`.", group="none", tls=True)
def answer_over_tls(connection: Connection) -> None:
    connection.answer()


@fault("Streams an answer well, with the usage at the end.", group="none", stream=True)
def answer_in_stream(connection: Connection) -> None:
    connection.answer()
