"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.server.service import command


def test_version(tmp_path: Path) -> None:
    """`--version` prints what the package's metadata says."""
    done = command("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"roadworthy {version('roadworthy')}\n")


def test_help_lists_the_commands(tmp_path: Path) -> None:
    """`--help` names what there is, and a wrong command is exit code 2."""
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "run" in done.stdout
    assert "config" in done.stdout
    assert command("serve", cwd=tmp_path).returncode == 2


def test_a_command_imports_its_room_only_when_it_is_called() -> None:
    """The command line's modules import neither the layer nor the server nor pydantic by themselves."""
    code = (
        "import sys, types; package = types.ModuleType('roadworthy');"
        "import importlib.util as u; package.__path__ = u.find_spec('roadworthy').submodule_search_locations;"
        "sys.modules['roadworthy'] = package; import roadworthy.cli;"
        "print([n for n in ('pydantic', 'uvicorn', 'structlog', 'roadworthy.layer', 'roadworthy.server')"
        " if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
