"""What every test of telemetry may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from telemetry_helpers import Seen

from oarlock.telemetry import uninstrument


@pytest.fixture
def seen() -> Iterator[Seen]:
    yield Seen()
    uninstrument()
