"""A virtual environment for each application, made once and kept in `.cache/apps`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from .application import FOLDER

__all__ = ("interpreter",)

ROOT = FOLDER.parents[2]
_CACHE = ROOT / ".cache" / "apps"
_UV = Path(sys.executable).with_name("uv")


def interpreter(name: str) -> Path:
    """Return the Python of an application's environment, in which this package is installed as it is here."""
    pins = FOLDER / name / "requirements.txt"
    place = _CACHE / name
    python, stamp = place / "bin" / "python", place / "installed.txt"
    wanted = hashlib.sha256(pins.read_bytes() + str(ROOT).encode() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        _uv("venv", "--clear", "--python", sys.executable, str(place), name=name)
        _uv("pip", "install", "--python", str(python), "-r", str(pins), name=name)
        _uv("pip", "install", "--python", str(python), "--no-deps", "-e", str(ROOT), name=name)
        stamp.write_text(wanted)
    return python


def _uv(*arguments: str, name: str) -> None:
    done = subprocess.run([_UV, "-q", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(
            f"{name} could not be installed, so nothing is proved. Is PyPI reachable? uv {arguments[0]}:\n"
            f"{done.stderr.strip()}",
            pytrace=False,
        )
