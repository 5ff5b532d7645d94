"""SVC-4: which stores the service is compared on."""

from __future__ import annotations

import asyncio
import json

import pytest

from roadworthy.checker import Verdict
from tests.zoo.harness import check_zoo, described, running_store

_DECLARED = "tcp://zoo:{password}@127.0.0.1:{store}/{space}"
_DEFAULT = f"${{RW_STORE:-{_DECLARED}}}"
_OTHER = "tcp://127.0.0.1:{store}/{space}-also"


@pytest.mark.parametrize(
    ("also", "verdict"),
    [
        ((), Verdict.NOT_APPLICABLE),
        ((_DECLARED,), Verdict.NOT_APPLICABLE),
        ((_DEFAULT,), Verdict.NOT_APPLICABLE),
        ((_DECLARED, _OTHER), Verdict.FAIL),
        ((f"${{RW_STORE:-{_OTHER}}}", _DEFAULT), Verdict.FAIL),
    ],
)
def test_the_declared_store_is_not_compared_with_itself(
    also: tuple[str, ...], verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest may name all stores in ``also``: the one that the check runs on does not count."""
    monkeypatch.delenv("RW_STORE", raising=False)
    declared = (f'also = ["{_OTHER}"]', f"also = {json.dumps(also)}")

    async def checked() -> None:
        async with running_store() as store:
            (result,) = (await check_zoo(store, ["SVC-4"], "svc-4-other", [declared])).results
        assert result.verdict is verdict, described([result])
        if verdict is Verdict.FAIL:
            number = also.index(next(url for url in also if _OTHER in url)) + 1
            assert f"(database.also, number {number})" in result.findings[0].got

    asyncio.run(checked())
