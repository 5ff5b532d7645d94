"""The reference of the manifest: every key of the model is there, and every example is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.checker import parse_manifest
from roadworthy.checker.manifest.reference import KEYS, ROLE_MEANINGS, SECTIONS, model_keys
from roadworthy.checker.manifest.values import ROLES

_PAGE = Path(__file__).parents[3] / "docs" / "manifest.md"


def test_every_key_of_the_model_is_explained() -> None:
    """No key is missing, none is left of a model that was changed, and each stands in a section."""
    paths = {path for path, _ in model_keys()}
    assert paths == set(KEYS)
    assert {path.rpartition(".")[0] for path in paths} == set(SECTIONS)
    assert set(ROLE_MEANINGS) == set(ROLES)


@pytest.mark.parametrize("path", KEYS)
def test_an_example_is_valid(path: str) -> None:
    """The example of each key is read as a manifest, and gives the key another value than its default."""
    key, (section, _, name) = KEYS[path], path.rpartition(".")
    line = f"{name} = {key.example}"
    text = f"[{section}]\n{line}\n" if section else f"{line}\n"
    if section == "routes.*":
        path_line = "" if name == "path" else 'path = "/users"\n'
        text = f"[routes.{'create' if name == 'id' else 'list'}]\n{path_line}{line}\n"
    elif section == "waivers":
        others = {"id": '"CMP"', "reason": '"why"'}
        text = "[[waivers]]\n" + "".join(f"{one} = {value}\n" for one, value in others.items() if one != name)
        text += f"{line}\n"
    parse_manifest(f"{text}{key.beside}\n")


def test_the_page_has_every_key() -> None:
    """Each key stands on the page with its example."""
    page = _PAGE.read_text()
    for path, key in KEYS.items():
        assert f"`{path.rpartition('.')[2]} = {key.example}`" in page, path
