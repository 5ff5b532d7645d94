"""Each probe on a good service whose manifest declares no more than what the probe needs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

import pytest

from roadworthy.checker import Result, Verdict
from roadworthy.checker.needs import Need
from roadworthy.checker.probe import Probe
from roadworthy.checker.registry import PROBES

from .harness import PATTERNS, check_zoo, described, manifest_text, running_store

_KEYS = {
    Need.LIVE: r'live = "/livez"\n',
    Need.READY: r'ready = "/readyz"\nrequires = \["db"\]\n',
    Need.LOG_LEVEL: r'log_level = "LOG_LEVEL"\n',
    Need.REQUIRED_ENV: r'required = \["ITEMS_KEY"\]\n',
    Need.SECRETS: r'secret = \["ITEMS_KEY"\]\n',
    Need.WORKERS: r'\[workers\]\nenv = "WEB_CONCURRENCY"\n',
    Need.METRICS: r"\[metrics\]\n(?:[^\[\n].*\n)*",
    Need.RATE_LIMIT: r"\[rate_limit\]\n(?:[^\[\n].*\n)*\n\[check.rate_limit\]\n(?:[^\[\n].*\n)*",
    Need.CORS_ORIGINS: r"\[cors\]\n(?:[^\[\n].*\n)*",
    Need.STORE: r"\[database\]\n(?:[^\[\n].*\n)*",
}
"""What the zoo's manifest declares for a need."""

_ALSO = {
    "CMP": (Need.LARGE,),
    "COR-3": (Need.LIST,),
    "COR-5": (Need.LIST,),
    "ERR-2": (Need.LIST,),
    "ERR-3": (Need.LIST,),
    "ERR-4": (Need.FAILS,),
    "ERR-9": (Need.LIST,),
    "HLT-2": (Need.READY,),
    "HLT-4": (Need.LIST,),
    "HLT-6": (Need.LIST,),
    "POOL": (Need.LIST,),
    "RTL": (Need.LIST, Need.RATE_LIMIT),
    "SHUT-2": (Need.STREAM,),
}
"""What a probe asks for when it runs, because one of several declarations would do."""

_NOTHING_TO_JUDGE = re.compile(r"^(?:needs |the manifest |no (?:known|declared) route|nothing |neither )")
"""The beginnings of reasons that name a declaration, and not a count."""


def _needs(probe: Probe) -> frozenset[Need]:
    family = probe.assertion.id.partition("-")[0]
    also = _ALSO.get(probe.assertion.id, _ALSO.get(family, ()))
    # Every service has a path that answers; the zoo's users are kept in its store, and its workers share it.
    stored = family in PATTERNS or Need.WORKERS in probe.needs
    return frozenset((*probe.needs, *also, Need.LIVE, *((Need.STORE,) if stored else ())))


def _text(only: Iterable[str], needs: frozenset[Need]) -> str:
    """Return the zoo's manifest for these families without what they do not need."""
    text = manifest_text(only)
    for need, pattern in _KEYS.items():
        if need not in needs:
            text = re.sub(pattern, "", text)
    for role in re.findall(r"^(\w+) = \{ path", text, re.M):
        if Need.__members__.get(role.upper()) not in needs:
            text = re.sub(rf"^{role} = .*\n", "", text, flags=re.M)
    return re.sub(r"\[limits\]\n(?:[^\[\n].*\n)*", "", text)


def _groups() -> dict[tuple[bool, frozenset[Need]], list[str]]:
    """Return the probes that one manifest does for, so that one check tries them all."""
    found: dict[tuple[bool, frozenset[Need]], list[str]] = {}
    for probe in PROBES.values():
        family = probe.assertion.id.partition("-")[0]
        found.setdefault((family in PATTERNS, _needs(probe)), []).append(probe.assertion.id)
    return found


_GROUPS = _groups()


async def _results(needs: frozenset[Need], only: list[str]) -> list[Result]:
    async with running_store() as store:
        return list((await check_zoo(store, only, text=_text(only, needs))).results)


def test_every_probe_is_in_a_group() -> None:
    """No probe is left out of the table."""
    assert sorted(name for names in _GROUPS.values() for name in names) == sorted(PROBES)


@pytest.mark.proof
@pytest.mark.long
@pytest.mark.parametrize("group", _GROUPS, ids=lambda group: " ".join(_GROUPS[group]))
def test_the_samples_that_a_probe_wants_exist(group: tuple[bool, frozenset[Need]]) -> None:
    """What declares no more than a probe needs is judged, or the reason names what lacks."""
    only = _GROUPS[group]
    results = asyncio.run(_results(group[1], only))
    wrong = [
        result
        for result in results
        if result.verdict not in {Verdict.PASS, Verdict.WARN, Verdict.NOT_APPLICABLE}
        and not (result.verdict is Verdict.INCONCLUSIVE and _NOTHING_TO_JUDGE.match(result.reason))
    ]
    assert wrong == [], described(wrong)
