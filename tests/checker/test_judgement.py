"""How a probe judges: what it names as not judged, and findings that are the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from roadworthy.checker import Profile, Verdict, parse_manifest
from roadworthy.checker.bench import Bench
from roadworthy.checker.custody import Custody
from roadworthy.checker.errors import ControlFailed
from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.wire import Answer, Ending
from roadworthy.checker.other_ways import try_other_ways
from roadworthy.checker.phases import Phase
from roadworthy.checker.probe import Probe, ProbeFunction
from roadworthy.checker.read.masking import Masker
from roadworthy.checker.stage import RunContext, Stage
from roadworthy.checklist import assertion

_MANIFEST = """
version = 1
[start]
url = "http://127.0.0.1:1"
[routes]
read = { path = "/api/items/{id}" }
child_list = { path = "/api/items/{id}/parts?limit=5" }
list = { path = "/api/items" }
"""


def _bench(folder: Path, wanted: int = 1) -> Bench:
    manifest = parse_manifest(_MANIFEST, folder=folder)
    context = RunContext(
        manifest=manifest,
        profile=Profile.FULL,
        folder=folder,
        masker=Masker(),
        custody=Custody(manifest, folder, "abc"),
        marker="abc",
    )
    return Bench(assertion("HDR-1"), wanted, Stage(context, Phase.SERVE), manifest)


def _answer(path: str, method: str = "GET") -> Answer:
    return Answer(Request(method, path, Address("127.0.0.1", 1)), Ending.COMPLETE)


def test_what_was_not_judged_is_named(tmp_path: Path) -> None:
    """A sample that could exist and was missed keeps a probe from passing, and the reason has it once."""
    bench = _bench(tmp_path)
    bench.control("the service answers")
    bench.sample()
    assert bench.verdict() is Verdict.PASS
    for _ in range(2):
        bench.missed("the list", "it is refused")
    bench.missed("the page", _answer("/"))
    assert bench.verdict() is Verdict.INCONCLUSIVE
    assert bench.reason.startswith("not judged: the list (it is refused); the page (")


def test_a_fault_counts_although_something_was_missed(tmp_path: Path) -> None:
    """What was seen to be wrong is wrong, whatever else was not judged."""
    bench = _bench(tmp_path)
    bench.missed("the list", "it is refused")
    assert bench.fail("wrong", "right", "wrong") is Verdict.FAIL


def test_too_few_samples_are_counted(tmp_path: Path) -> None:
    """A pass takes as many samples as the probe asks for."""
    bench = _bench(tmp_path, wanted=2)
    bench.control("the service answers")
    bench.sample()
    assert bench.verdict() is Verdict.INCONCLUSIVE
    assert bench.reason == "a pass takes 2 samples, and 1 could be judged"


def test_the_same_finding_is_there_once(tmp_path: Path) -> None:
    """Three times the same on one route is one finding; another route, verdict or title makes it another."""
    bench = _bench(tmp_path)
    for path in ("/api/items/1", "/api/items/2", "/api/items/3"):
        bench.fail("wrong", "right", path, _answer(path))
    bench.fail("wrong", "right", "x", _answer("/api/items"))
    bench.warn("wrong", "right", "x", _answer("/api/items"))
    bench.fail("worse", "right", "x", _answer("/api/items"))
    assert [(each.title, each.route, each.got) for each in bench.findings] == [
        ("wrong", "GET /api/items/{id}", "/api/items/1"),
        ("wrong", "GET /api/items", "x"),
        ("wrong", "GET /api/items", "x"),
        ("worse", "GET /api/items", "x"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/api/items/5", "GET /api/items/{id}"),
        ("DELETE", "/api/items/5", "DELETE /api/items/{id}"),
        ("GET", "/api/items/5?view=1", "GET /api/items/{id}"),
        ("GET", "/api/items/5/parts", "GET /api/items/{id}/parts"),
        ("GET", "/api/items", "GET /api/items"),
        ("GET", "/api/items/", "GET /api/items/"),
        ("GET", f"/api/{'0a' * 16}", "GET /api/…"),
        ("GET", f"/api/{'0a' * 16}/deeper?a=1", "GET /api/…/deeper?a=1"),
        ("GET", f"/api/{'0a' * 17}", f"GET /api/{'0a' * 17}"),
    ],
)
def test_the_route_of_a_finding(method: str, path: str, route: str, tmp_path: Path) -> None:
    """An id of the check's own, and a path that it made up, would name another route in each run."""
    bench = _bench(tmp_path)
    bench.fail("wrong", "right", "wrong", _answer(path, method))
    assert bench.findings[0].route == route


async def _misses(bench: Bench) -> Verdict:
    bench.missed("GET /api/items", "429")
    return bench.verdict()


async def _has_no_control(bench: Bench) -> Verdict:
    raise ControlFailed("nothing was created")


async def _is_inconclusive(bench: Bench) -> Verdict:
    return bench.inconclusive("the limit is not known")


async def _never_ends(bench: Bench) -> Verdict:
    await asyncio.Event().wait()
    return Verdict.PASS


async def _fails(bench: Bench) -> Verdict:
    return bench.fail("it leaks", "nothing", "a stack")


@pytest.mark.parametrize(
    ("run", "verdict", "seen"),
    [
        (_misses, Verdict.PASS, "not judged: GET /api/items (429)"),
        (_has_no_control, Verdict.PASS, "nothing was created"),
        (_is_inconclusive, Verdict.PASS, "the limit is not known"),
        (_never_ends, Verdict.PASS, "not done within 0.01 s"),
        (_fails, Verdict.FAIL, "it leaks (on a kept connection)"),
    ],
)
def test_another_way_takes_no_pass_away_but_by_a_finding(
    run: ProbeFunction, verdict: Verdict, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be judged on a kept connection is a note: it was judged on one of its own."""

    async def answers(_: object) -> bool:
        return False

    async def check() -> Bench:
        bench = _bench(tmp_path)
        monkeypatch.setattr(bench, "shared", answers)
        bench.control("a response was seen")
        bench.sample()
        async with asyncio.timeout(60) as bench.deadline.timeout:
            tried = Probe(assertion=bench.assertion, phase=Phase.SERVE, run=run, seconds=0.01)
            await try_other_ways(tried, bench)
        return bench

    bench = asyncio.run(check())
    assert bench.verdict() is verdict
    assert seen in " ".join([*bench.notes, *(one.title for one in bench.findings)])
