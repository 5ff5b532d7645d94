"""The good services, and the twins that are made of them by one switch each."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from roadworthy.checker import Manifest, parse_manifest
from roadworthy.checklist import ASSERTIONS, Assertion

__all__ = ("LANGUAGES", "TWINS", "Twin", "assertion", "manifest_of", "prepare")

_HERE = Path(__file__).parent
_MANIFEST = "roadworthy.check.toml"
_NO_FAULT = 'BLIND_FAULT = ""'

LANGUAGES = {"py": "python", "js": "node", "go": "go", "java": "java"}
"""The folder of a language's good service, by the first letters of its twins' names."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A service with one fault.

    Parameters:
        breaks: id of the assertion that does not hold for it.
        when: what is wrong, and in which case only.
    """

    name: str
    breaks: str
    when: str

    @property
    def language(self) -> str:
        """The first letters of its name."""
        return self.name.partition("-")[0]


def _read() -> tuple[Twin, ...]:
    table = tomllib.loads((_HERE / "twins.toml").read_text())
    return tuple(Twin(name, **entry) for name, entry in table.items())


TWINS = _read()


def assertion(assertion_id: str) -> Assertion:
    """Return an assertion of the catalogue.

    Raises:
        KeyError: there is none with this id.
    """
    return {each.id: each for each in ASSERTIONS}[assertion_id]


def prepare(language: str, folder: Path) -> Path:
    """Copy a language's good service to where it can run, compiled, and return its own folder.

    Parameters:
        folder: an empty folder that is there; also gets what all languages share.
    """
    shutil.copy(_HERE / "openapi.json", folder)
    place = folder / LANGUAGES[language]
    shutil.copytree(
        _HERE / LANGUAGES[language], place, ignore=shutil.ignore_patterns("__pycache__", "classes")
    )
    if language == "go":
        subprocess.run(["go", "build", "-o", "server", "."], cwd=place, check=True)
    elif language == "java":
        sources = [source.name for source in place.glob("*.java")]
        subprocess.run(["javac", "-d", "classes", *sources], cwd=place, check=True)
    return place


def manifest_of(place: Path, fault: str = "") -> Manifest:
    """Return the manifest of a prepared service.

    Parameters:
        fault: the name of a twin; the good service when empty.
    """
    text = (place / _MANIFEST).read_text()
    assert text.count(_NO_FAULT) == 1
    return parse_manifest(text.replace(_NO_FAULT, f'BLIND_FAULT = "{fault}"'), _MANIFEST, place)
