"""Checks against the named faults of `oarlock.testing.faults`, for those who ask for them."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from oarlock.contract.errors import LLMError, OarlockError
from oarlock.policies import Deadline, Retry
from oarlock.testing import faults
from oarlock.testing.contract.asking import request
from oarlock.testing.contract.stage import question
from oarlock.testing.contract.subject import NotApplicable, Scene, require
from oarlock.testing.contract.table import Check
from oarlock.testing.faults import ANSWER, Fault, FaultServer

__all__ = ["fault_checks"]

_RETRY = Retry(base_delay=0.01, max_delay=0.02, throttled_base_delay=0.01, throttled_max_delay=0.02)
_SHORT, _LONG = 1.0, 20.0
"""Seconds: the deadline where there is no answer to wait for, and where there is one, however busy the machine."""


def fault_checks(names: Sequence[str]) -> dict[str, Check]:
    """Return a check for each of these faults, named `fault_slow_body` and so on.

    Raises:
        ConfigurationError: there is no such fault.
    """
    return {f"fault_{name}": _check(faults.get(name)) for name in names}


def _check(fault: Fault) -> Check:
    def run(scene: Scene) -> None:
        """See what becomes of a call."""
        _need_chat_format(scene, fault)
        with faults.serve(fault) as server:
            _judge(scene, fault, server, _outcome(scene, fault, server))

    return Check(
        name=f"fault_{fault.name}",
        says=f"It bears an endpoint that does this: {fault.does}",
        run=run,
        after=("answers_text",),
    )


def _need_chat_format(scene: Scene, fault: Fault) -> None:
    scene.need_url()
    if scene.subject.respond is not None:
        raise NotApplicable("The faults are those of the chat format, and yours is another.")
    if fault.stream:
        raise NotApplicable("It is about answers that stream, and the question is asked as a whole.")
    if fault.tls:
        raise NotApplicable("It is about certificates, and the factory does not know whom to trust.")


def _outcome(scene: Scene, fault: Fault, server: FaultServer) -> OarlockError | None:
    """Return the error, `None` for an answer."""
    seconds = _LONG if ANSWER in fault.expect else _SHORT
    llm = scene.made(server.url).with_policies(_RETRY, Deadline(fault.takes + seconds))
    try:
        llm.complete(request(question(1)))
    except OarlockError as error:
        return error
    return None


def _judge(scene: Scene, fault: Fault, server: FaultServer, error: OarlockError | None) -> None:
    """Compare with a good client, but for the class of the error: code of its owner's need not tell them all apart."""
    wanted = f"A good client {fault.good_client}"
    if error is None:
        require(ANSWER in fault.expect, f"{wanted}, and it returned an answer.")
    else:
        require(fault.expect != (ANSWER,), f"{wanted}, and it raised {type(error).__name__}: {error}")
        require(isinstance(error, LLMError), f"{wanted}, and it raised {type(error).__name__}: {error}")
        shown = "".join([repr(error), *traceback.format_exception(error)])
        require(
            not any(secret in shown for secret in scene.subject.secrets), "The error, or its cause, shows a secret."
        )
    sent = len(server.requests)
    require(sent <= fault.requests, f"{wanted}, and it sent {sent} requests.")
    require(not server.other_requests, "It followed the endpoint to another origin, which must not see the request.")
