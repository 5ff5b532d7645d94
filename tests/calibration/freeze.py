"""Freezes what the targets do now: `python -m tests.calibration.freeze [TARGET or SERVER ...]`.

Without a name it takes the targets alone. Of a server, the reasons stay; each new finding needs one by hand.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from roadworthy.checker.manifest.read import load_manifest

from .expected import FOLDER, manifest_of, read_expected, write_expected
from .observe import observe_stop
from .servers import MANIFESTS, paths_for, read_servers, write_servers
from .verdicts import judged_on, verdicts_on


def _freeze(targets: list[str]) -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([FOLDER / "build"], check=True)
    expected = read_expected()
    for name in targets or list(expected):
        entry, manifest = expected[name], load_manifest(manifest_of(name))
        with tempfile.TemporaryDirectory() as folder:
            stop = asyncio.run(observe_stop(manifest, Path(folder)))
        verdicts = asyncio.run(verdicts_on(manifest, entry.families))
        expected[name] = replace(entry, stop=stop, verdicts=verdicts)
        write_expected(expected)
        print(name, stop, verdicts, sep="\n  ", flush=True)


def _freeze_servers(names: list[str]) -> None:
    servers, path = read_servers(), os.environ["PATH"]
    for name in names:
        server = servers[name]
        os.environ["PATH"] = os.pathsep.join([*map(str, paths_for(server)), path])
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            os.environ["HOME"] = os.environ["TMPDIR"] = folder
            manifest = load_manifest(MANIFESTS / f"{name}.toml")
            verdicts = asyncio.run(judged_on(manifest, server.families))
        found = [one for one, verdict in verdicts.items() if verdict in {"fail", "warn"}]
        servers[name] = replace(
            server, verdicts=verdicts, why={one: server.why.get(one, "") for one in found}
        )
        write_servers(servers)
        print(name, verdicts, sep="\n  ", flush=True)


if __name__ == "__main__":
    _named = sys.argv[1:]
    _of_servers = [name for name in _named if name in read_servers()]
    _freeze_servers(_of_servers)
    if _of_servers != _named or not _named:
        _freeze([name for name in _named if name not in _of_servers])
