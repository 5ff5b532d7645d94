"""The conformance of the checker: the good service passes, and each twin fails its assertion and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from roadworthy.checker import Verdict
from roadworthy.checker.registry import PROBES
from tests.twins import ALSO_GOOD, FAMILIES, TWINS

from .harness import Twin, check_twins, described, judge

pytestmark = pytest.mark.long


def test_every_probe_has_a_twin() -> None:
    """A probe that never failed on a twin is not shipped."""
    assert set(PROBES) - {twin.fails for twin in TWINS} == set()


def test_twins_are_told_apart() -> None:
    """No two twins have the same fault, and what each fails is an assertion with a probe."""
    names = [twin.fault for twin in TWINS]
    assert len(names) == len(set(names))
    assert {twin.fails for twin in TWINS} <= set(PROBES)


SAMPLE = {
    "cmp-3-substring",
    "cmp-8-image",
    "cor-1-ends-with",
    "cor-1-on-create",
    "cor-4-only-when-granted",
    "cor-5-lacks-delete",
    "hdr-1-not-on-errors",
    "hdr-4-inline",
    "hdr-8-no-http-only",
    "val-0-one-read",
    "val-1-null",
    "val-4-stores",
    "val-5-rounds",
    "val-8-chunked",
    "val-10-echo",
    "err-1-html",
    "err-2-no-allow",
    "err-4-stack",
    "err-6-trace",
    "err-8-silent",
    "hlt-1-redirect",
    "hlt-2-same",
    "hlt-8-says-down",
    "log-1-twice",
    "pool-1-per-request",
    "pool-8-leaves-journal",
    "rtl-3-plain",
    "rtl-8-one-for-all",
    "rtl-9-limits-health",
    "log-2-stack",
    "log-3-no-offset",
    "log-4-echo",
    "log-5-query",
    "log-6-raw",
    "log-9-file",
    "met-1-no-type",
    "met-2-no-inf",
    "met-3-millis",
    "met-4-skips-404",
    "met-9-leaks",
    "env-1-second-listener",
    "env-6-repeats",
    "env-9-debugs",
    "env-10-nothing",
    "ctl-2-no-location",
    "ctl-4-first-only",
    "ctl-5-500",
    "svc-1-own-check",
    "svc-3-row",
    "txn-2-answers-first",
    "txn-4-unlocked",
    "aer-1-no-id",
    "aer-3-second-handler",
    "ecl-1-by-route",
    "ecl-2-flattens",
    "ecl-3-text",
    "cpu-2-no-retry-after",
    "fan-3-compacts",
    "wir-4-status-0",
    "wir-5-left-in",
}
"""The twins of every ordinary run: one quick launch each."""


def _sampled(twins: tuple[Twin, ...]) -> list[Twin]:
    return [twin for twin in twins if twin.fault in SAMPLE]


@pytest.mark.parametrize("family", [family for family, twins in FAMILIES.items() if _sampled(twins)])
def test_a_sample_of_the_matrix(family: str) -> None:
    """Some twins of a family fail their assertion, tried alone."""
    # Every run of the suite takes the quick ones; `make proof` takes all, with the whole family on each.
    twins = _sampled(FAMILIES[family])
    _, runs = asyncio.run(check_twins([], twins, whole=False))
    assert [text for twin, run in zip(twins, runs, strict=True) for text in judge(twin, run)] == []


@pytest.mark.proof
@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_matrix(family: str, record_property: Callable[[str, object], None]) -> None:
    """The good service passes the whole family, and each twin fails its own assertion and what it entails."""
    twins = list(FAMILIES[family])
    services = [(family, ()), *((family, ALSO_GOOD[family]) for _ in range(family in ALSO_GOOD))]
    good, runs = asyncio.run(check_twins(services, twins, whole=True))
    proved = {result.id for run in good for result in run.results if result.verdict is Verdict.PASS}
    harmless = {Verdict.PASS, Verdict.NOT_APPLICABLE} if len(good) > 1 else {Verdict.PASS}
    not_passed = [
        result
        for run in good
        for result in run.results
        if result.verdict not in harmless or result.id not in proved
    ]
    record_property("assertions", len(good[0].results))
    record_property("twins", len(twins))
    assert not_passed == [], described(not_passed)
    wrong = [text for twin, run in zip(twins, runs, strict=True) for text in judge(twin, run)]
    assert wrong == [], "\n".join(wrong)
