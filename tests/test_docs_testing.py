"""The tests that docs/testing.md shows pass, and see what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.patience import DEADLINE

from .server.service import environment

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"
_BLOCK = re.compile(r"^```python\n# (?P<name>test_\w+\.py)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """Every block is a file of tests, run as a reader would run it."""
    blocks = list(_BLOCK.finditer(PAGE.read_text()))
    assert len(blocks) == PAGE.read_text().count("```python")
    for block in blocks:
        (tmp_path / block["name"]).write_text(block["text"])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shown = sum(block["text"].count("\ndef test_") for block in blocks)
    assert f"{shown} passed" in done.stdout
