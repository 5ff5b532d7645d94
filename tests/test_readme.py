"""The first screen of the README: its service gives the lines that the page shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import DEADLINE

_PAGE = (Path(__file__).parents[1] / "README.md").read_text()
_SERVICE = re.compile(r"^```python\n# main\.py\n(.+?)^```$", re.MULTILINE | re.DOTALL)
_CONSOLE = re.compile(r"^```console\n(.+?)^```$", re.MULTILINE | re.DOTALL)


def _shown() -> list[tuple[str, list[str]]]:
    """Return each command of the page, with the lines that it prints."""
    (block,) = _CONSOLE.findall(_PAGE)
    commands = [part.splitlines() for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(lines[0], [line for line in lines[1:] if line]) for lines in commands]


def test_two_commands_are_shown() -> None:
    """The same check runs twice on the page: once it fails, once it passes."""
    (plain, found), (ours, passed) = _shown()
    assert plain.replace("uvicorn", "roadworthy run") == ours
    assert found[0].startswith("FAIL")
    assert passed[0].startswith("pass")


@pytest.mark.parametrize(("command", "lines"), _shown(), ids=["uvicorn", "roadworthy run"])
def test_a_command_prints_what_the_page_shows(tmp_path: Path, command: str, lines: list[str]) -> None:
    """Each line of the page is printed, in the same order; durations at their ends aside."""
    (source,) = _SERVICE.findall(_PAGE)
    (tmp_path / "main.py").write_text(source)
    program, *arguments = shlex.split(command)
    assert program == "roadworthy"
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=tmp_path, env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}, capture_output=True, text=True,
        timeout=DEADLINE, check=False,
    )  # fmt: skip
    printed = [re.sub(r"  \d+\.\d s$", "", line) for line in done.stdout.splitlines()]
    positions = [printed.index(line) for line in lines]
    assert positions == sorted(positions)
    assert done.returncode == (1 if lines[0].startswith("FAIL") else 0)
