"""What can be seen of the guide's examples without building them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.checker.manifest.read import load_manifest

from .stacks import FOLDER, STACKS, USERS

_MADE = {"node_modules", ".venv", "target", "dist", "__pycache__", ".built", "server"}
_MARKED = re.compile(r"^(?://|#) >>> the guide: ([^\n]+)\n(.*?)^(?://|#) <<<$", re.MULTILINE | re.DOTALL)
# The first 16 digits of the SHA-256 of each snippet as the guide has it; the controller of Spring Boot is one
# line shorter, which its README explains.
_PRINTED = {
    "Centralized Error Handler": "3f68954dee928fa3",
    "Django (Full-Featured)": "2595c4333e27d058",
    "Express.js (Lightweight)": "ae45350b8b019ea2",
    "FastAPI (Modern, Fast)": "ca5529587ee28231",
    "Fastify (Fast)": "f38e948aa6f6f63b",
    "NestJS (Enterprise)": "6142575550b20547",
    "Service Layer Pattern": "fa6615c5c1e51c1d",
    "Simple HTTP Server": "58e25fbdc83580e2",
    "Spring Boot REST Controller": "491db00c76e3f2d8",
}
_LOCKS = {
    "express": "package-lock.json",
    "nestjs": "package-lock.json",
    "fastify": "package-lock.json",
    "django": "requirements.txt",
    "fastapi": "requirements.txt",
    "go": "go.sum",
    "spring-boot": "pom.xml",
}


def _files() -> Iterator[Path]:
    for folder, folders, files in os.walk(FOLDER):
        folders[:] = [name for name in folders if name not in _MADE]
        yield from (Path(folder, name) for name in files if name not in _MADE and ".db" not in name)


def test_the_snippets_are_as_printed() -> None:
    """What stands between the marks is what the guide prints, to the letter."""
    code = (file.read_text() for file in _files() if file.suffix in {".js", ".ts", ".py", ".go", ".java"})
    found = {
        name: hashlib.sha256(snippet.strip().encode()).hexdigest()[:16]
        for text in code
        for name, snippet in _MARKED.findall(text)
    }
    assert found == _PRINTED


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_has_its_manifest(stack: str) -> None:
    """The manifest is one that the checker reads, and readiness is an answer from the users' route."""
    manifest = load_manifest(FOLDER / stack / "roadworthy.toml")
    assert manifest.startable
    assert manifest.ready.path == USERS[stack]


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_says_what_was_added(stack: str) -> None:
    """The README tells in at most fifteen lines what was added to the snippet."""
    text = (FOLDER / stack / "README.md").read_text()
    assert "Added to make" in text
    assert len(text.partition("## What the check says")[0].splitlines()) <= 16


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_is_locked(stack: str) -> None:
    """Every dependency has one version, with a hash where the format has hashes."""
    lock = FOLDER / stack / _LOCKS[stack]
    text = lock.read_text()
    if lock.name == "package-lock.json":
        assert "omit-lockfile-registry-resolved=true" in (lock.parent / ".npmrc").read_text()
        packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
        assert all(entry["version"] and entry["integrity"] for entry in packages.values())
        assert not [name for name, entry in packages.items() if "resolved" in entry]
    elif lock.name == "requirements.txt":
        wanted = re.findall(r"^[a-z][^\\\n]*", text, re.MULTILINE)
        assert wanted
        assert all("==" in line for line in wanted)
        assert all(
            "--hash=sha256:" in block for block in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
        )
    elif lock.name == "go.sum":
        required = re.findall(r"^\t(\S+) (v\S+)", (lock.parent / "go.mod").read_text(), re.MULTILINE)
        assert required
        assert all(f"{name} {version} h1:" in text for name, version in required)
    else:
        versions = [
            entry.text or "" for entry in ElementTree.fromstring(text).iter() if entry.tag.endswith("version")
        ]
        assert any(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
        assert not [version for version in versions if set(version) & set("[(,$") or "SNAPSHOT" in version]


def test_no_file_names_a_registry() -> None:
    """Where packages come from is the machine's business: no address stands in any file."""
    # A lock of npm repeats the addresses for donations; the test above sees to its "resolved".
    texts = {file: file.read_text() for file in _files() if file.name != "package-lock.json"}
    addresses = {address for text in texts.values() for address in re.findall(r"\w+://[^\s\"'<>]+", text)}
    harmless = re.compile(r"http://maven\.apache\.org/POM/4\.0\.0|https?://(127\.0\.0\.1|app\.example)\b.*")
    assert {address for address in addresses if not harmless.fullmatch(address)} == set()
    locks = [file.read_text() for file in _files() if file.name == "package-lock.json"]
    assert not [text for text in locks if re.search(r"registry\.|\.tgz", text)]
