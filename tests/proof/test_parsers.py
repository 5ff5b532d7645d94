"""Every parser of foreign bytes under two engines: hypothesis and, guided by coverage, atheris."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.registry import TARGETS
from tests.fuzz.target import Target, report

pytestmark = pytest.mark.proof
ROOT = Path(__file__).parents[2]
MINUTES = float(os.environ.get("FUZZ_MINUTES", "60"))
"""For all targets and both engines together: ``FUZZ_MINUTES=5 make proof ONLY="-k parsers"``."""

_SHARE = MINUTES * 60 / len(TARGETS) / 2
_ROUND = 200
"""Examples between two looks at the clock."""


def _by_hypothesis(target: Target, seconds: float) -> int:
    """Run rounds of examples, each with a seed of its own, until the time is over; return how many."""
    executed = 0

    def one(data: bytes) -> None:
        nonlocal executed
        executed += 1
        report(target, data)

    chosen = settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    end = time.monotonic() + seconds
    for number in count():
        seed(number)(chosen(given(target.inputs())(one)))()
        if time.monotonic() > end:
            return executed
    raise AssertionError  # an endless count has no end


def _by_atheris(target: Target, seconds: float, folder: Path) -> tuple[int, int]:
    """Run libFuzzer in a process of its own; return the inputs it ran and the edges they reached."""
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.engine",
        target.check.__module__,
        target.name,
        str(max(1, round(seconds))),
        str(folder),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=seconds + 300,
        check=False,
    )
    found = "".join(re.findall(r"^.*FINDING .*$", done.stderr, re.MULTILINE)[:1])
    assert done.returncode == 0, found or done.stderr[-3000:]
    executed = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    edges = re.findall(r"\bcov: (\d+)", done.stderr)
    assert executed, done.stderr[-3000:]
    return int(executed[1]), int(edges[-1]) if edges else 0


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_no_finding(
    target: Target,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    """What a target holds of all inputs, it holds of as many as fit in its share of the time."""
    # Kept records of a million requests would be what fills the memory.
    caplog.set_level(logging.CRITICAL)
    record_property("minutes of both engines", round(2 * _SHARE / 60, 1))
    record_property("inputs of hypothesis", _by_hypothesis(target, _SHARE))
    inputs, edges = _by_atheris(target, _SHARE, tmp_path)
    record_property("inputs of atheris", inputs)
    record_property("edges they reached", edges)
    assert inputs > 0
