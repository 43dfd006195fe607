"""What stands in a certificate (RFC 5280), also in one that is not trusted, which Python's `ssl` does not read."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from oarlock.contract.secret import scrub

__all__ = ["Certificate", "read_certificate"]

_COMMON_NAME: Final = b"\x55\x04\x03"  # 2.5.4.3
_ORGANIZATION: Final = b"\x55\x04\x0a"  # 2.5.4.10
_ALTERNATIVE_NAMES: Final = b"\x55\x1d\x11"  # 2.5.29.17
_DNS, _ADDRESS, _EXTENSIONS, _VERSION, _UTC_TIME = 0x82, 0x87, 0xA3, 0xA0, 0x17


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The parts of a certificate that a person wants to see.

    Attributes:
        names: host names and addresses that it is for.
        issuer: who vouches for it.
        since: from when on it is valid.
        until: its expiry.
    """

    names: tuple[str, ...]
    issuer: str
    since: datetime
    until: datetime


def read_certificate(der: bytes) -> Certificate | None:
    """Return what a certificate says, `None` if it is none. Nothing is checked: who vouches for it is TLS's business."""
    try:
        (_, whole), *_ = _items(der)
        (_, inner), *_ = _items(whole)
        fields = [(tag, content) for tag, content in _items(inner) if tag != _VERSION]
        issuer, validity, subject = (content for _, content in fields[2:5])
        since, until = (_time(tag, content) for tag, content in _items(validity))
        extensions = next((content for tag, content in fields if tag == _EXTENSIONS), b"")
        names = tuple(_alternative_names(extensions)) or (
            *_parts(subject, _COMMON_NAME),
            *_parts(subject, _ORGANIZATION),
        )
        who = dict.fromkeys((*_parts(issuer, _ORGANIZATION), *_parts(issuer, _COMMON_NAME)))
        return Certificate(names=names or ("nobody",), issuer=" ".join(who) or "nobody", since=since, until=until)
    except (ValueError, IndexError):
        return None


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the values that stand one after the other in DER (X.690): a tag, a length, the content."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size >= 0x80:
            more = size & 0x7F
            size, at = int.from_bytes(data[at : at + more], "big"), at + more
        if at + size > len(data):
            raise ValueError("cut")
        yield tag, data[at : at + size]
        at += size


def _parts(name: bytes, kind: bytes) -> Iterator[str]:
    for _, group in _items(name):
        for _, pair in _items(group):
            (_, oid), (_, value), *_ = _items(pair)
            if oid == kind:
                yield scrub(value.decode("utf-8", "replace"), 80)


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for _, listed in _items(extensions):
        for _, extension in _items(listed):
            (_, oid), *_, (_, value) = _items(extension)
            if oid == _ALTERNATIVE_NAMES:
                for _, names in _items(value):
                    yield from filter(None, (_host(tag, content) for tag, content in _items(names)))


def _host(tag: int, content: bytes) -> str | None:
    if tag == _ADDRESS:
        return str(ipaddress.ip_address(content))
    return scrub(content.decode("ascii", "replace"), 80) if tag == _DNS else None


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year, of 1950 to 2049
        text = f"{'19' if text[:2] >= '50' else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
