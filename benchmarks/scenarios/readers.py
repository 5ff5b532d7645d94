"""What the worst inputs of the budgets cost, in microseconds of CPU, at the most bytes of each reader."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.budgets.inputs import json_bodies
from tests.budgets.measure import cost, without_collections
from tests.budgets.test_bodies import EXCHANGE, ITEM, LIMIT
from tests.budgets.test_heads import PARSERS, worst

__all__ = ("worst_inputs",)


def worst_inputs(rounds: int, seconds: float) -> dict[str, Any]:
    """CPU of one run on the worst input of each reader in the tables of ``tests/budgets``, without a load."""
    del rounds, seconds
    found: dict[str, Any] = {}
    with without_collections():
        for name, make in json_bodies():
            found[f"JSON, {name}"] = _us(partial(ITEM.judge, EXCHANGE, make(LIMIT)))
        for parser in PARSERS:
            name, make = worst(parser)[0]
            found[f"{parser.name}, {name}"] = _us(partial(parser.parse, make(parser.size)))
    return found


def _us(run: partial[object]) -> float:
    return round(cost(run) * 1e6, 1)
