"""What models cost. The figures are the user's own: providers change theirs too often for a table to ship."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import NamedTuple

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.reply import Usage
from oarlock.policies.checks import positive

__all__ = ["Price", "PriceTable", "Rate", "amount", "grains"]

_GRAINS = 10**12  # sums are kept in whole millionths of a millionth of the currency, so that they are exact
_PER_MILLION = 10**6  # tokens, the unit in which providers state their prices
_EXACT = Context(prec=60)
_DATED = re.compile(r"[-@:](\d{3,}(-\d{2})*|latest)")  # "gpt-x-2026-01-01", "claude-y@20260101", "llama-z:latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens of a model cost, in any currency, as long as it is the same one throughout.

    Args:
        input: a million tokens read.
        output: a million tokens written.
        cached_input: a million tokens read that the provider had cached; default: as `input`.

    Raises:
        ConfigurationError: not a finite number, zero or more.

    Example:
        >>> Price(input=2.5, output=10.0, cached_input=1.25)
        Price(input=2.5, output=10.0, cached_input=1.25)
    """

    input: float | Decimal
    output: float | Decimal
    cached_input: float | Decimal | None = None

    def __post_init__(self) -> None:
        grains("Price", "input", self.input)
        grains("Price", "output", self.output)
        if self.cached_input is not None:
            grains("Price", "cached_input", self.cached_input)


class Rate(NamedTuple):
    """A price in grains for each token."""

    input: int
    cached: int
    output: int

    def cost(self, usage: Usage) -> int:
        """Return what this usage costs, in grains."""
        reported = usage.cached_prompt_tokens
        cached = min(reported, usage.prompt_tokens) if isinstance(reported, int) and reported > 0 else 0
        fresh = usage.prompt_tokens - cached
        return fresh * self.input + cached * self.cached + usage.completion_tokens * self.output

    def most(self, read: int, written: int) -> int:
        """Return the most that so many tokens can cost, in grains."""
        return read * max(self.input, self.cached) + written * self.output


class PriceTable:
    """Prices by model. A name that only adds a date to one of the table (`gpt-x-2026-01-01`) has that one's price."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        if not isinstance(prices, Mapping) or not prices:
            raise ConfigurationError(
                f'Budget: prices must be a mapping such as {{"gpt-x": Price(...)}}, not {prices!r}.'
            )
        for model, price in prices.items():
            if not isinstance(model, str) or not isinstance(price, Price):
                raise ConfigurationError(
                    f"Budget: prices must map names of models to Price(...), not {model!r}: {price!r}."
                )
        self._rates = {model: _rate(price) for model, price in prices.items()}

    def find(self, model: object) -> Rate | None:
        """Return the price of a model, `None` if the table has none."""
        if not isinstance(model, str):
            return None
        if model in self._rates:
            return self._rates[model]
        dated = [name for name in self._rates if model.startswith(name) and _DATED.fullmatch(model, len(name))]
        return self._rates[max(dated, key=len)] if dated else None

    def cost(self, model: str, usage: Usage) -> Decimal | None:
        """Return what this usage of a model costs, `None` if the table has no price."""
        rate = self.find(model)
        return None if rate is None else amount(rate.cost(usage))

    def of(self, model: object) -> Rate:
        """Return the price of a model.

        Raises:
            ConfigurationError: the table has none.
        """
        rate = self.find(model)
        if rate is None:
            known = ", ".join(map(repr, sorted(self._rates)))
            raise ConfigurationError(
                f"Budget: prices has no price for the model {model!r}, only for {known}. Add prices={{{model!r}: Price(...)}}."
            )
        return rate


def _rate(price: Price) -> Rate:
    cached = price.input if price.cached_input is None else price.cached_input
    return Rate(*(_exact(value) * _GRAINS // _PER_MILLION for value in (price.input, cached, price.output)))


def grains(owner: str, name: str, value: object, *, zero: bool = True) -> int:
    """Return an amount of money in whole grains.

    Raises:
        ConfigurationError: it is no finite number, or below zero (or zero, unless that is allowed).
    """
    if isinstance(value, Decimal) and value.is_finite():
        positive(owner, name, float(value), zero=zero)
    else:
        positive(owner, name, value, zero=zero)
    return int(_exact(value) * _GRAINS)


def amount(of_grains: int) -> Decimal:
    """Return grains as an amount of money, exactly and without noughts at its end.

    Example:
        >>> amount(12_500_000_000)
        Decimal('0.0125')
    """
    exact = Decimal(f"{of_grains}e-12")
    return Decimal(int(exact)) if exact == int(exact) else exact.normalize(_EXACT)


def _exact(value: object) -> Fraction:
    return Fraction(str(value))  # 0.1 as it is written, not as the nearest binary fraction
