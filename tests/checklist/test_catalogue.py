import dataclasses
import importlib
import re
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from roadworthy.checklist import (
    ASSERTIONS,
    ITEMS,
    PATTERNS,
    Item,
    Pattern,
    Severity,
    assertion,
    assertions_of,
    item,
    pattern,
)

ROOT = Path(__file__).parents[2]
ENTRIES: tuple[Item | Pattern, ...] = (*ITEMS, *PATTERNS)

COUNTS = {
    "ERR": 9,
    "LOG": 9,
    "VAL": 11,
    "CMP": 9,
    "COR": 10,
    "RTL": 10,
    "POOL": 9,
    "SHUT": 10,
    "HLT": 9,
    "MET": 9,
    "HDR": 10,
    "ENV": 10,
    "CTL": 6,
    "SVC": 4,
    "TXN": 6,
    "AER": 5,
    "ECL": 4,
    "CPU": 4,
    "FAN": 4,
    "WIR": 5,
}

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
each_item = pytest.mark.parametrize("entry", ITEMS, ids=lambda entry: entry.id)


def test_there_are_twelve_items_and_eight_patterns() -> None:
    """The checklist has the twelve items and the eight patterns of the project, in its order."""
    assert [(entry.id, entry.family) for entry in ITEMS] == [
        ("error-handling", "ERR"),
        ("logging", "LOG"),
        ("request-validation", "VAL"),
        ("compression", "CMP"),
        ("cors", "COR"),
        ("rate-limiting", "RTL"),
        ("connection-pooling", "POOL"),
        ("graceful-shutdown", "SHUT"),
        ("health-check", "HLT"),
        ("metrics", "MET"),
        ("security-headers", "HDR"),
        ("environment", "ENV"),
    ]
    assert [(entry.id, entry.family) for entry in PATTERNS] == [
        ("controllers", "CTL"),
        ("service-layer", "SVC"),
        ("transactions", "TXN"),
        ("async-errors", "AER"),
        ("error-classes", "ECL"),
        ("cpu-offload", "CPU"),
        ("fan-out", "FAN"),
        ("wiring", "WIR"),
    ]


def test_no_assertion_is_lost() -> None:
    """The number of assertions in each family is known, so that none disappears unnoticed."""
    assert Counter(entry.id.partition("-")[0] for entry in ASSERTIONS) == COUNTS


def test_ids_are_unique() -> None:
    """No id and no title is given twice."""
    ids = [entry.id for entry in (*ENTRIES, *ASSERTIONS)]
    titles = [entry.title for entry in (*ENTRIES, *ASSERTIONS)]
    assert [name for name, count in Counter(ids + titles).items() if count > 1] == []


@each_entry
def test_assertions_carry_the_family_and_are_numbered_without_holes(entry: Item | Pattern) -> None:
    """An id is its family and the next number, from 1 on; only request validation begins with its control."""
    first = 0 if entry.family == "VAL" else 1
    found = [each.id for each in assertions_of(entry.id)]
    assert found == [f"{entry.family}-{number}" for number in range(first, first + len(found))]


def test_assertions_stand_together_in_the_order_of_the_checklist() -> None:
    """The list of assertions follows the order of the items, then that of the patterns."""
    assert [name for name, _ in groupby(found.item for found in ASSERTIONS)] == [
        entry.id for entry in ENTRIES
    ]


@pytest.mark.parametrize("entry", [*ENTRIES, *ASSERTIONS], ids=lambda entry: entry.id)
def test_every_entry_is_worded(entry: object) -> None:
    """Every text is there, trimmed, on one line and of a length that fits a report."""
    texts = {
        field.name: getattr(entry, field.name)
        for field in dataclasses.fields(entry)  # type: ignore[arg-type]
        if field.name not in {"severity", "depends_on"}
    }
    for name, text in texts.items():
        assert isinstance(text, str)
        assert text == " ".join(text.split()) != "", name
    assert len(texts["title"]) <= 120
    assert not texts["title"].endswith(".")
    assert texts["why"].endswith(".")
    sentences = re.findall(r"\.(?= |$)", texts["why"])
    assert 1 <= len(sentences) <= (2 if "item" in texts else 3)


def test_every_severity_is_used_by_the_catalogue() -> None:
    """Each severity is one of the five words, and each word has an assertion."""
    assert {found.severity for found in ASSERTIONS} == set(Severity)
    assert [severity.value for severity in Severity] == ["critical", "high", "medium", "low", "info"]


@each_item
def test_every_item_has_a_module_in_the_layer(entry: Item) -> None:
    """The layer has a module named after the item, and it can be imported."""
    assert importlib.import_module(f"roadworthy.layer.{entry.id.replace('-', '_')}").__doc__


@each_item
def test_every_item_has_a_test_of_its_module(entry: Item) -> None:
    """The tests of an item stand in a file named after it."""
    assert (ROOT / "tests" / "layer" / f"test_{entry.id.replace('-', '_')}.py").is_file()


@each_item
def test_every_item_has_a_page(entry: Item) -> None:
    """The documentation has a page named after the item."""
    assert (ROOT / "docs" / "checklist" / f"{entry.id}.md").is_file()


def test_entries_are_found_by_id() -> None:
    """Every id leads to its own entry."""
    assert all(item(entry.id) is entry for entry in ITEMS)
    assert all(pattern(entry.id) is entry for entry in PATTERNS)
    assert all(assertion(entry.id) is entry for entry in ASSERTIONS)


@pytest.mark.parametrize(
    ("find", "wrong", "nearest"),
    [
        (item, "rate-limit", "rate-limiting"),
        (item, "Health_Check", "health-check"),
        (pattern, "fanout", "fan-out"),
        (assertion, "rtl-6", "RTL-6"),
        (assertion, "POOLS-3", "POOL-3"),
        (assertions_of, "transaction", "transactions"),
    ],
)
def test_an_unknown_id_is_refused_with_the_nearest_one(find: object, wrong: str, nearest: str) -> None:
    """A mistyped id is an error that names the id that was probably meant."""
    assert callable(find)
    with pytest.raises(LookupError, match=re.escape(f"{wrong!r}; the nearest is {nearest!r}")):
        find(wrong)


def test_entries_cannot_be_changed() -> None:
    """An entry is a fixed value: what one room reads no other room can have altered."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        ITEMS[0].title = "Another"  # type: ignore[misc]
    assert not any(hasattr(entry, "__dict__") for entry in (*ENTRIES, *ASSERTIONS))


def test_the_catalogue_needs_the_standard_library_only() -> None:
    """Importing the checklist brings in nothing that has to be installed."""
    code = (
        "import sys; sys.path.append(sys.argv[1]); import checklist;"
        "print(*sorted({n.partition('.')[0] for n in sys.modules} - sys.stdlib_module_names - {'__main__'}))"
    )
    package = ROOT / "src" / "roadworthy"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, package], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["checklist"]
