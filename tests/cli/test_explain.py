"""``roadworthy explain``: what is promised, how it is tried, and what of the input is varied."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.checker.registry import PROBES
from tests.server.service import command


def test_what_is_varied_and_what_is_not_is_told(tmp_path: Path) -> None:
    """A reader sees on what a fault may depend that the check would not see."""
    done = command("explain", "LOG-5", "--stack", "none", cwd=tmp_path)
    assert done.returncode == 0
    probe = PROBES["LOG-5"]
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())
    varied = {one.value for one in probe.varied}
    constant = {one.value for one in probe.assertion.depends_on} - varied
    assert lines["Varied"] == (", ".join(one.value for one in probe.varied) or "nothing")
    assert all(one in lines["not"] for one in constant)


@pytest.mark.parametrize("word", ["LOG-99", "nothing"])
def test_an_unknown_id_is_refused(word: str, tmp_path: Path) -> None:
    """The message names what was asked for."""
    done = command("explain", word, cwd=tmp_path)
    assert done.returncode == 2
    assert word in done.stderr
