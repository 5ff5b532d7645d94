"""The recall of the checker on mutants: faults that show only on one method, one route, one connection."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby

import pytest

from roadworthy.checker import Run, Verdict
from roadworthy.checker.registry import PROBES
from roadworthy.checklist import ASSERTIONS, Dimension
from tests.twins import FAMILIES
from tests.zoo.conditions import CONDITIONS
from tests.zoo.harness import check_zoo, described, running_store

from .catalogue import Mutant, mutants
from .drive import reachable
from .languages import LANGUAGES, Language
from .trial import try_all

WANTED = 0.95
GROUP = 1200.0
"""Seconds for one group of mutants; the longest takes about a tenth of it."""
OTHERS = [name for name, language in LANGUAGES.items() if language.suffix]
HARMLESS = {Verdict.PASS, Verdict.NOT_APPLICABLE}


def test_every_assertion_depends_on_something() -> None:
    """No promise can be broken in one way alone, and no dimension is written down twice."""
    for assertion in ASSERTIONS:
        assert assertion.depends_on, assertion.id
        assert len(set(assertion.depends_on)) == len(assertion.depends_on), assertion.id


def test_what_is_varied_is_what_a_fault_may_depend_on() -> None:
    """A probe claims no dimension that does not matter to its assertion."""
    for name, probe in PROBES.items():
        assert set(probe.varied) <= set(probe.assertion.depends_on), name


def test_conditions_belong_to_one_dimension() -> None:
    """Each dimension that requests have is tried, and no condition stands for two."""
    names = [name for group in CONDITIONS.values() for name in group]
    assert len(names) == len(set(names))
    by_hand = {Dimension.CLIENT, Dimension.KEY, Dimension.ENVIRONMENT}
    assert set(Dimension) - set(CONDITIONS) == by_hand


def test_mutants_are_distinct() -> None:
    """From faults that can show anywhere come hundreds of mutants, each once."""
    everywhere = {
        (twin.fault, name)
        for twins in FAMILIES.values()
        for twin in twins
        for group in CONDITIONS.values()
        for name in group
    }
    made = list(mutants(everywhere))
    assert len(made) > 800
    assert len({(one.assertion.id, one.dimension, one.condition) for one in made}) == len(made)


@pytest.mark.parametrize("name", OTHERS)
def test_conditions_have_the_same_names_in_each_language(name: str) -> None:
    """A condition that the catalogue knows is one that the service knows."""
    command = [*_installed(name).command(), "conditions"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert set(printed.split()) == {condition for group in CONDITIONS.values() for condition in group}


@pytest.mark.parametrize("name", OTHERS)
def test_faults_are_those_of_assertions(name: str) -> None:
    """Each language has faults of most families, and each of them breaks an assertion."""
    twins = LANGUAGES[name].twins
    assert len(twins) > 60
    assert {twin.fails.partition("-")[0] for twin in twins} >= set(FAMILIES) - {"CPU"}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("only", ["ERR-1", "COR-3", "CTL-3"])
def test_a_service_without_a_fault_passes(name: str, only: str) -> None:
    """A few assertions of every ordinary run; the proof tries them all."""
    results = _good(_installed(name), only).results
    assert [result.verdict for result in results] == [Verdict.PASS], described(results)


def _installed(name: str) -> Language:
    language = LANGUAGES[name]
    if not language.installed:
        pytest.skip(f"{name} is not installed")
    return language


def _good(language: Language, only: str) -> Run:
    async def check() -> Run:
        async with running_store() as store:
            return await check_zoo(store, [only], text=await asyncio.to_thread(language.manifest, [only]))

    return asyncio.run(check())


@pytest.mark.proof
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", OTHERS)
def test_a_service_without_a_fault_has_no_finding(
    name: str, family: str, record_property: Callable[[str, object], None]
) -> None:
    """What is found on a mutant is the fault's."""
    results = _good(_installed(name), family).results
    record_property("passed", sum(result.verdict is Verdict.PASS for result in results))
    record_property("assertions", len(results))
    assert [each for each in results if each.verdict not in HARMLESS] == [], described(results)


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Language], list[Mutant]]:
    """Return the mutants of a language; what can show is found out once for all workers."""
    folder = tmp_path_factory.getbasetemp().parent

    def of(language: Language) -> list[Mutant]:
        file = folder / f"reachable-{language.name}.json"
        if not file.exists():
            file.write_text(json.dumps(sorted(asyncio.run(reachable(language)))))
        return list(
            mutants({(fault, condition) for fault, condition in json.loads(file.read_text())}, language)
        )

    return of


@pytest.mark.proof
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", LANGUAGES)
def test_mutants_are_caught(
    name: str,
    family: str,
    known: Callable[[Language], list[Mutant]],
    record_property: Callable[[str, object], None],
) -> None:
    """Of the mutants of each assertion at least 95 of 100 are found, by its own probe alone."""
    chosen = [one for one in known(_installed(name)) if one.assertion.id.startswith(f"{family}-")]
    found = asyncio.run(asyncio.wait_for(try_all(chosen), GROUP))
    short: list[str] = []
    for only, trials in groupby(found, key=lambda one: one.mutant.assertion.id):
        caught = [one.caught for one in trials]
        record_property(only, f"{sum(caught)} of {len(caught)}")
        if sum(caught) < WANTED * len(caught):
            short.append(only)
    missed = [f"{one.mutant.name} ({one.verdict})" for one in found if not one.caught]
    assert short == [], missed


@pytest.mark.proof
def test_a_tenth_is_judged_alike_three_times(
    known: Callable[[Language], list[Mutant]], record_property: Callable[[str, object], None]
) -> None:
    """The verdict on a mutant is the same when it is tried again, and when both cores are busy."""
    chosen = [one for name in LANGUAGES for one in known(_installed(name))][::10]
    quiet = [_verdicts(chosen) for _ in range(2)]
    with busy(os.cpu_count() or 2):
        runs = [*quiet, _verdicts(chosen)]
    differ = {one.name: each for one, *each in zip(chosen, *runs, strict=True) if len(set(each)) > 1}
    record_property("mutants", len(chosen))
    record_property("alike", len(chosen) - len(differ))
    assert differ == {}


def _verdicts(chosen: list[Mutant]) -> list[str]:
    found = asyncio.run(asyncio.wait_for(try_all(chosen), GROUP))
    return [one.verdict for one in found]


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keep processors busy, for no longer than a group of mutants may take."""
    end = f"import time; end = time.monotonic() + {GROUP}\nwhile time.monotonic() < end: pass"
    burners = [subprocess.Popen([sys.executable, "-c", end]) for _ in range(cores)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
