"""Reads and writes `servers.toml`, and installs what it names from registries and Debian."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ("MANIFESTS", "Absent", "Server", "paths_for", "read_servers", "write_servers")

MANIFESTS = Path(__file__).parent / "servers"
_FILE = Path(__file__).parent / "servers.toml"
_ROOT = Path(__file__).parents[2]
_CACHE = _ROOT / ".cache" / "servers"
_HEAD = """\
# What the checker says about servers that nobody here wrote, each verdict judged by hand.
#
# `why` has a line for each finding: what makes it true. One without it is not judged yet.
# After a change that is meant: python -m tests.calibration.freeze [SERVER ...]
"""


class Absent(Exception):
    """Raised when a server cannot be installed on this machine; its text is the reason."""


@dataclass(frozen=True, slots=True)
class Server:
    """What is frozen of one server.

    Parameters:
        source: ``debian``, ``pypi`` or ``npm``.
        package: its name there.
        version: the version that was judged.
        families: what its manifest can be judged on.
        verdicts: by assertion; what it does not declare is left out.
        why: by assertion that fails or warns, what makes the finding true.
    """

    source: str
    package: str
    version: str
    families: tuple[str, ...]
    verdicts: Mapping[str, str]
    why: Mapping[str, str]


def read_servers() -> dict[str, Server]:
    """Return what is frozen, by server."""
    return {
        name: Server(**{**entry, "families": tuple(entry["families"])})
        for name, entry in tomllib.loads(_FILE.read_text()).items()
    }


def write_servers(servers: Mapping[str, Server]) -> None:
    """Freeze this."""
    parts = [_HEAD]
    for name, one in sorted(servers.items()):
        lines = [f"[{name}]"]
        lines += [f"{key} = {json.dumps(getattr(one, key))}" for key in ("source", "package", "version")]
        lines += [f"families = {json.dumps(one.families)}"]
        for table in ("verdicts", "why"):
            pairs: Mapping[str, str] = getattr(one, table)
            lines += ["", f"[{name}.{table}]"]
            lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in pairs.items()]
        parts.append("\n".join(lines) + "\n")
    _FILE.write_text("\n".join(parts))


def paths_for(server: Server) -> list[Path]:
    """Install a server where it lacks, and return the folders of its commands.

    Raises:
        Absent: it cannot be installed here, or Debian has another version than the one that was judged.
    """
    match server.source:
        case "debian":
            _debian(server)
            return []
        case "pypi":
            return [_installed("python", "requirements.txt", _python) / "bin"]
        case _:
            return [_installed("node", "package-lock.json", _node) / "node_modules" / ".bin"]


def _debian(server: Server) -> None:
    _run([str(_ROOT / "scripts" / "system-packages"), server.package])
    query = ["dpkg-query", "--show", "--showformat=${Version}", server.package]
    found = _run(query).partition("-")[0]
    if found != server.version.partition("-")[0]:
        raise Absent(f"{server.package} {found} is here, and {server.version} was judged")


def _installed(kind: str, lock: str, install: object) -> Path:
    place = _CACHE / kind
    stamp = place / "installed.txt"
    wanted = hashlib.sha256((MANIFESTS / lock).read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        assert callable(install)
        install(place)
        stamp.write_text(wanted)
    return place


def _python(place: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    pins = str(MANIFESTS / "requirements.txt")
    _run([uv, "-q", "venv", "--allow-existing", "--python", sys.executable, str(place)])
    python = str(place / "bin" / "python")
    _run([uv, "-q", "pip", "install", "--python", python, "--require-hashes", "-r", pins])


def _node(place: Path) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(MANIFESTS / name, place)
    _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(place)])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise Absent(f"{' '.join(command[:3])}: {done.stderr.strip()[-500:]}")
    return done.stdout
