"""What httpx2 and the packages below it write into the log, without what may be secret.

At DEBUG httpcore2 logs every field of a response (session cookies, echoes of a key) and hpack every field of a request;
httpx2 logs the whole URL at INFO. Their loggers are the process's, so this holds for other users of httpx2 in it too.
"""

from __future__ import annotations

import logging
from typing import Any, Final

__all__ = ["quiet"]

_TRACES: Final = ("httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy", "httpcore2.socks")
_OPEN: Final = ("connect_tcp.", "connect_unix_socket.", "start_tls.", "retry.")  # no messages, only hosts and ports


class _EventsOnly(logging.Filter):
    """Keeps what httpcore2 did, and drops what it did it with."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(_OPEN):
            record.msg, record.args = str(record.msg).partition(" ")[0], ()
        return True


class _NoQueries(logging.Filter):
    """Takes the query off the URLs that httpx2 logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(arg) for arg in record.args)
        return True


class _Nothing(logging.Filter):
    """Drops everything: hpack logs nothing but fields."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False


def _without_query(arg: Any) -> Any:
    return arg.copy_with(query=None) if hasattr(arg, "copy_with") and hasattr(arg, "query") else arg


_FILTERS: Final = {
    **dict.fromkeys(_TRACES, _EventsOnly()),
    "httpx2": _NoQueries(),
    **dict.fromkeys(("hpack.hpack", "hpack.table"), _Nothing()),
}


def quiet() -> None:
    """Put the filters in place; a second time changes nothing."""
    for name, one in _FILTERS.items():
        logging.getLogger(name).addFilter(one)
