"""What every test of telemetry may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from telemetry_helpers import Seen

from oarlock.telemetry import uninstrument


@pytest.fixture
def seen() -> Iterator[Seen]:
    before = trace.get_current_span()
    yield Seen()
    uninstrument()
    assert trace.get_current_span() is before
