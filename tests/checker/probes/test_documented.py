"""What a document promises is what is demanded: types and names of fields, and where keys are taken."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from roadworthy.checker import Options, Profile, Result, Verdict, parse_manifest, run_check

_SERVER = Path(__file__).with_name("documented_server.py")


def _judged(word: str, assertion: str, folder: Path, openapi: str = "/openapi.json") -> Result:
    text = f"""
version = 1
openapi = "{openapi}"
[start]
command = {json.dumps([sys.executable, "-P", str(_SERVER), word])}
[listen]
port_env = "PORT"
[health]
live = "/livez"
[routes]
list = {{ path = "/items" }}
create = {{ path = "/items", body = {{ name = "{{unique}}", quantity = 3 }} }}
read = {{ path = "/items/{{id}}" }}
update = {{ path = "/items/{{id}}", body = {{ name = "{{unique}}", quantity = 4 }} }}
delete = {{ path = "/items/{{id}}" }}
child_create = {{ path = "/items/{{id}}/notes", body = {{ text = "{{unique}}" }} }}
"""
    manifest = parse_manifest(text, folder=folder)
    options = Options(only=(assertion,), profile=Profile.FULL, second_try=False, calibrated=False)
    (result,) = asyncio.run(run_check(manifest, options)).results
    return result


@pytest.mark.parametrize(
    ("word", "assertion", "titles"),
    [
        ("good", "VAL-3", ()),
        ("capitals", "VAL-3", ("a field in other letters stands in for a required one",)),
        ("digits", "VAL-3", ("a text of digits is changed to the integer that is documented",)),
        ("truth", "VAL-3", ("boolean is changed to the integer that is documented",)),
        ("good", "SVC-2", ()),
        ("stale", "SVC-2", ("GET /items does not show what was just changed",)),
        ("good", "TXN-6", ()),
    ],
)
def test_the_document_is_held_to(word: str, assertion: str, titles: tuple[str, ...], tmp_path: Path) -> None:
    """Each fault is found, and the service that keeps its promises passes."""
    result = _judged(word, assertion, tmp_path)
    assert (result.verdict is Verdict.PASS) == (not titles), result
    assert {one.title.removesuffix(" in a change") for one in result.findings} == set(titles)


@pytest.mark.parametrize("word", ["capitals", "digits", "truth"])
def test_without_a_document_nothing_was_promised(word: str, tmp_path: Path) -> None:
    """Many frameworks change types and letters by default; it is a note where no document says otherwise."""
    result = _judged(word, "VAL-3", tmp_path, "")
    assert (result.verdict, result.findings) == (Verdict.PASS, ())
