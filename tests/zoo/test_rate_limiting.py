"""Limits of other kinds than the zoo's usual one are no fault."""

from __future__ import annotations

import asyncio

import pytest

from roadworthy.checker import Run, Verdict

from .harness import check_zoo, described, running_store

pytestmark = pytest.mark.proof

_KIND, _ENV = 'kind = "window"', "[env.set]"


def _check(*replace: tuple[str, str]) -> Run:
    async def run() -> Run:
        async with running_store() as store:
            return await check_zoo(store, ["RTL"], "", replace)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "replace",
    [
        ((_KIND, ""),),
        ((_KIND, 'kind = "bucket"'), (_ENV, f'{_ENV}\nZOO_RATE_LIMIT_KIND = "bucket"')),
        ((_KIND, ""), (_ENV, f'{_ENV}\nZOO_RATE_LIMIT_KIND = "bucket"')),
        ((_KIND, f"{_KIND}\ntrusted_proxy_hops = 1"), (_ENV, f'{_ENV}\nZOO_TRUSTED_HOPS = "1"')),
        ((_KIND, f"{_KIND}\ntrusted_proxy_hops = 2"), (_ENV, f'{_ENV}\nZOO_TRUSTED_HOPS = "2"')),
        ((_KIND, f'{_KIND}\nkey = "X-Api-Key"'), (_ENV, f'{_ENV}\nZOO_RATE_LIMIT_KEY = "x-api-key"')),
    ],
    ids=["undeclared kind", "bucket", "undeclared bucket", "one proxy", "two proxies", "by key"],
)
def test_a_good_limit_passes_whatever_its_kind(replace: tuple[tuple[str, str], ...]) -> None:
    """Windows and buckets, clients by address, forwarded address and key: nothing fails."""
    # Buckets of one process do not add up over workers, so RTL-6 has something to say about those.
    results = [result for result in _check(*replace).results if result.id != "RTL-6"]
    assert [result for result in results if result.verdict is not Verdict.PASS] == [], described(results)
