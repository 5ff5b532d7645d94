"""Each item has a fix for every stack."""

from __future__ import annotations

import ast
import re

import pytest

from roadworthy.checklist import ITEMS
from roadworthy.checklist.fixes import STACKS, fixes_of
from roadworthy.settings import Settings

EVERY = [(item.id, fix) for item in ITEMS for fix in fixes_of(item.id)]


@pytest.mark.parametrize("item_id", [item.id for item in ITEMS])
def test_every_stack_has_a_fix(item_id: str) -> None:
    """Each of the twelve items has a sentence and a short snippet for each of the seven stacks, in order."""
    fixes = fixes_of(item_id)
    assert [fix.stack for fix in fixes] == list(STACKS)
    for fix in fixes:
        assert fix.text.endswith("."), fix.text
        assert 1 <= len(fix.snippet.splitlines()) <= 25
        assert max(map(len, fix.snippet.splitlines())) <= 120


def test_snippets_of_python_can_be_parsed() -> None:
    """What is marked as Python is Python, and the settings it names exist."""
    others = {"settings", "routes", "resources", "user_key"}
    known = set(Settings.model_fields) | others
    for item_id, fix in EVERY:
        if fix.language != "python":
            continue
        for node in ast.walk(ast.parse(fix.snippet)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "roadworthy":
                names = {keyword.arg for keyword in node.keywords}
                assert names <= known, f"{item_id}, {fix.stack}: {names - known}"


def test_variables_in_snippets_exist() -> None:
    """A variable of ours in a snippet is one that is read."""
    text = "\n".join(fix.snippet for _, fix in EVERY)
    known = {f"ROADWORTHY_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"ROADWORTHY_\w+", text)) <= known


def test_an_unknown_item_is_refused() -> None:
    """An item that does not exist has no fixes, and the message names the nearest."""
    with pytest.raises(LookupError, match="rate-limiting"):
        fixes_of("rate-limit")
