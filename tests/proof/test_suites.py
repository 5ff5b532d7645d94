"""The frameworks' own suites with the layer on: what differs is listed, with the setting that restores it."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadworthy.settings import Settings, load_settings

from .suites.running import ROOT, SUITES, Suite, Workshop, function_of

DIFFERENCES: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "suites" / "differences.toml").read_text()
)["difference"]
RESTORING: dict[str, str] = {name: value for entry in DIFFERENCES for name, value in entry["set"].items()}
MOST = 40


def pinned(lock: str) -> set[str]:
    """Return the versions of the frameworks in a lock file."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return set(re.findall(r"^(?:django|fastapi|starlette)==[^\\\n]*", text, re.MULTILINE))


def listed(suite: str) -> dict[str, str]:
    """Return the tests of a suite that the list has, and why."""
    return {test: str(entry["what"]) for entry in DIFFERENCES for test in entry["tests"].get(suite, ())}


def test_the_suites_are_those_of_the_versions_that_all_is_tested_with() -> None:
    """`make lock` keeps the two together."""
    assert len(pinned("suites")) >= 3
    assert pinned("suites") == pinned("dev")


def test_the_list_is_short_and_has_a_setting_for_each_entry() -> None:
    """At most 40 entries, each with tests and with settings that there are; no test stands in two."""
    assert len(DIFFERENCES) <= MOST
    for entry in DIFFERENCES:
        assert entry.keys() == {"what", "set", "tests"}
        assert entry["what"]
        assert entry["set"]
        assert any(entry["tests"].values())
        assert entry["tests"].keys() <= {suite.name for suite in SUITES}
        load_settings(_env_file=None, **{name.lower(): value for name, value in entry["set"].items()})
        assert {name.lower() for name in entry["set"]} <= Settings.model_fields.keys()
    for suite in SUITES:
        tests = Counter(test for entry in DIFFERENCES for test in entry["tests"].get(suite.name, ()))
        assert not [test for test, count in tests.items() if count > 1]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The suites, from their source distributions."""
    return Workshop(tmp_path_factory.mktemp("suites"))


@pytest.mark.proof
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_suite_sees_what_is_on_the_list_and_nothing_else(
    suite: Suite, workshop: Workshop, record_property: Callable[[str, object], None]
) -> None:
    """Three runs: without the layer, with its defaults, with the settings that restore what was."""
    bare = workshop.run(suite)
    assert len(bare.ran) > 10
    layered = workshop.run(suite, {})
    restored = workshop.run(suite, RESTORING)
    record_property("tests", len(bare.ran))
    record_property("fail_without_the_layer", len(bare.failed))
    new = layered.failed - bare.failed
    known = listed(suite.name)
    unknown = {test for test in new if function_of(test) not in known}
    left = restored.failed - bare.failed
    if suite.name != "django":
        # What fails once and not again has failed for want of time.
        unknown &= workshop.run(suite, {}, unknown).failed if unknown else set()
        left &= workshop.run(suite, RESTORING, left).failed if left else set()
    record_property("differ_by_default", len(new))
    record_property("differ_with_the_settings", len(left))
    gone = known.keys() - {function_of(test) for test in new}
    assert layered.ran == restored.ran == bare.ran
    assert not unknown, f"not on the list: {sorted(map(function_of, unknown))}"
    assert not gone, f"on the list, and do not fail any more: {sorted(gone)}"
    assert not left, f"the settings do not restore: {sorted(left)}"
