"""The recall of the checker on mutants: faults that show only on one method, one route, one connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from roadworthy.checker.registry import PROBES
from roadworthy.checklist import ASSERTIONS, Dimension
from tests.twins import FAMILIES
from tests.zoo.conditions import CONDITIONS

from .catalogue import mutants
from .drive import reachable
from .trial import try_all

WANTED = 0.95


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


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Return which faults can show under which conditions; found out once for all workers."""
    file = Path(tmp_path_factory.getbasetemp().parent, "reachable.json")
    if not file.exists():
        file.write_text(json.dumps(sorted(asyncio.run(reachable()))))
    return {(fault, condition) for fault, condition in json.loads(file.read_text())}


@pytest.mark.proof
@pytest.mark.parametrize("family", FAMILIES)
def test_mutants_are_caught(
    family: str, known: set[tuple[str, str]], record_property: Callable[[str, object], None]
) -> None:
    """Of the mutants of each assertion at least 95 of 100 are found, by its own probe alone."""
    chosen = [one for one in mutants(known) if one.assertion.id.startswith(f"{family}-")]
    found = asyncio.run(try_all(chosen))
    caught = sum(one.caught for one in found)
    record_property("mutants", len(found))
    record_property("caught", caught)
    missed = [f"{one.mutant.name} ({one.verdict})" for one in found if not one.caught]
    assert caught >= WANTED * len(found), missed
