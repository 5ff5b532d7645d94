"""Stock servers, started as people start them: what they do at SIGTERM, and what the checker says."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.checker.manifest.read import load_manifest
from roadworthy.checker.verdict import Verdict
from roadworthy.checklist import ASSERTIONS

from .expected import FOLDER, manifest_of, read_expected
from .observe import observe_stop
from .verdicts import verdicts_on

_EXPECTED = read_expected()
_TARGETS = tuple(_EXPECTED)


@pytest.fixture(scope="module")
def built() -> None:
    """Make the apps ready to start."""
    lacking = [name for name in ("npm", "go") if not shutil.which(name)]
    lacking += [
        name for name in ("aiohttp", "flask", "gunicorn", "waitress") if not importlib.util.find_spec(name)
    ]
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    subprocess.run([FOLDER / "build"], check=True, timeout=600)


@pytest.fixture
def at_home(built: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``python`` be this interpreter; a server that writes into the home folder gets one of its own."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))


def test_every_target_is_frozen() -> None:
    """Each manifest has its entry in `expected.toml`, and each entry its manifest."""
    assert {file.stem for file in (FOLDER / "targets").iterdir()} == set(_TARGETS)


@pytest.mark.parametrize("target", _TARGETS)
def test_a_target_is_declared(target: str) -> None:
    """The checker reads the manifest, and what is frozen names assertions and verdicts that there are."""
    manifest, expected = load_manifest(manifest_of(target)), _EXPECTED[target]
    assert manifest.startable
    assert manifest.routes.slow is not None
    known = {entry.id for entry in ASSERTIONS if entry.id.rpartition("-")[0] in expected.families}
    assert known
    assert set(expected.verdicts) <= known
    assert set(expected.verdicts.values()) <= {verdict.value for verdict in Verdict}


def test_the_lock_names_no_registry() -> None:
    """The lock of the Node apps has versions and hashes, and no addresses to fetch them from."""
    packages = json.loads((FOLDER / "apps" / "package-lock.json").read_text())["packages"]
    assert len(packages) > 2
    assert all(
        "resolved" not in entry and (entry.get("integrity") or not name) for name, entry in packages.items()
    )


@pytest.mark.proof
@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("target", _TARGETS)
def test_the_stop_of(target: str, tmp_path: Path) -> None:
    """After SIGTERM the server does what it is known for, seen without the checker."""
    assert asyncio.run(observe_stop(load_manifest(manifest_of(target)), tmp_path)) == _EXPECTED[target].stop


@pytest.mark.proof
@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("target", _TARGETS)
def test_the_verdicts_on(target: str) -> None:
    """The checker says what is frozen."""
    expected = _EXPECTED[target]
    if not expected.verdicts:
        pytest.skip("nothing is frozen yet")
    assert (
        asyncio.run(verdicts_on(load_manifest(manifest_of(target)), expected.families)) == expected.verdicts
    )
