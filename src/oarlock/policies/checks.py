"""Checks of settings, made when a policy is built."""

from __future__ import annotations

from oarlock.contract.checks import flag, positive, seconds, whole

__all__ = ["flag", "positive", "seconds", "whole"]
