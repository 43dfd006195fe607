"""Fixtures of the tests of the policies."""

from __future__ import annotations

import pytest
from policy_helpers import Watch

from oarlock.testing import VirtualRuntime


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def runtime() -> VirtualRuntime:
    return VirtualRuntime()
