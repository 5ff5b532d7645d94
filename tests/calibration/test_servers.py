"""Other people's servers, from registries and Debian: the checker says of each what was judged by hand."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.checker.manifest.read import load_manifest
from roadworthy.checker.verdict import Verdict
from roadworthy.checklist import ASSERTIONS

from .servers import MANIFESTS, Absent, paths_for, read_servers
from .verdicts import judged_on

_SERVERS = read_servers()
_FINDINGS = {"fail", "warn"}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for what a server writes, which one that gives up its rights can enter, too."""
    folder = Path(tempfile.mkdtemp(prefix="roadworthy-server-"))
    folder.chmod(0o755)
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_every_server_is_frozen() -> None:
    """Each manifest has its entry in `servers.toml`, and each entry its manifest."""
    assert {file.stem for file in MANIFESTS.glob("*.toml")} == set(_SERVERS)


@pytest.mark.parametrize("name", _SERVERS)
def test_every_finding_has_its_reason(name: str) -> None:
    """The checker reads the manifest; each finding on the server has the line that makes it true."""
    server = _SERVERS[name]
    assert load_manifest(MANIFESTS / f"{name}.toml").startable
    known = {entry.id for entry in ASSERTIONS if entry.id.rpartition("-")[0] in server.families}
    assert set(server.verdicts) <= known
    assert set(server.verdicts.values()) <= {verdict.value for verdict in Verdict}
    assert set(server.why) == {one for one, verdict in server.verdicts.items() if verdict in _FINDINGS}
    assert all(server.why.values())


def test_the_locks_name_no_registry() -> None:
    """The locks have versions and hashes, and no addresses to fetch them from."""
    packages = json.loads((MANIFESTS / "package-lock.json").read_text())["packages"]
    assert all(
        "resolved" not in entry and (entry.get("integrity") or not name) for name, entry in packages.items()
    )
    assert "://" not in (MANIFESTS / "requirements.txt").read_text()


@pytest.mark.proof
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", _SERVERS)
def test_the_verdicts_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker says what was judged."""
    server = _SERVERS[name]
    try:
        folders = paths_for(server)
    except Absent as reason:
        pytest.skip(str(reason))
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, folders), os.environ["PATH"]]))
    found = asyncio.run(judged_on(load_manifest(MANIFESTS / f"{name}.toml"), server.families))
    assert found == server.verdicts
