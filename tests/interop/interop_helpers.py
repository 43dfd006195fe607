"""What the tests of all frameworks share."""

from __future__ import annotations

from collections.abc import Callable

from oarlock import ChatLLM
from oarlock.policies import Retry
from oarlock.testing import LoopbackEndpoint

TOKEN = "t0ken-that-nobody-may-see"
RETRY = Retry(attempts=3, base_delay=0, throttled_base_delay=0)

Behind = Callable[..., tuple[ChatLLM, LoopbackEndpoint]]
