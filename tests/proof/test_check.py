"""The checker on the reference service: every item proved, and the same verdicts again and again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.proof
REFERENCE = Path(__file__).parents[2] / "examples" / "reference"
RUNS = 10


def _check(report: Path, *options: str) -> dict[str, Any]:
    """Run the checker on the reference service; return its report, which tells what stayed without proof."""
    command = [
        str(Path(sys.executable).with_name("roadworthy")),
        "check",
        "--report",
        f"json={report}",
        *options,
    ]
    done = subprocess.run(command, cwd=REFERENCE, capture_output=True, text=True, check=False, timeout=900)
    assert report.exists(), done.stdout + done.stderr
    return dict(json.loads(report.read_text()))


def _verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {result["id"]: result["verdict"] for result in report["assertions"]}


@pytest.mark.parametrize("workers", [1, 4])
def test_the_reference_service_is_proved(
    workers: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Twelve of twelve items and eight of eight patterns, with one worker and with four."""
    text = (REFERENCE / "roadworthy.toml").read_text()
    # Beside the service's own: paths in a manifest are seen from its folder.
    manifest = REFERENCE / f".roadworthy-{workers}.toml"
    manifest.write_text(text.replace("[check.env]\n", f'[check.env]\nWEB_CONCURRENCY = "{workers}"\n'))
    try:
        report = _check(tmp_path / "report.json", "--manifest", manifest.name)
    finally:
        manifest.unlink()
    record_property("seconds", round(report["run"]["seconds"]))
    record_property("requests", report["run"]["requests"])
    lacking = {item["id"]: item["counts"] for item in report["items"] if item["state"] != "proved"}
    told = [
        (result["id"], result["verdict"], result["reason"] or [each["title"] for each in result["findings"]])
        for result in report["assertions"]
        if result["verdict"] not in {"pass", "n/a"}
    ]
    assert lacking == {}, told
    assert len(report["items"]) == 20
    assert report["run"]["exit_code"] == 0


@contextmanager
def _busy_core() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("around", [nullcontext, _busy_core], ids=["quiet", "one core busy"])
def test_ten_runs_say_the_same(
    around: Any, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Ten runs in a row of the quick profile give the same verdicts."""
    seen: list[dict[str, str]] = []
    seconds: list[float] = []
    with around():
        for number in range(RUNS):
            report = _check(tmp_path / f"{number}.json", "--profile", "quick")
            seen.append(_verdicts(report))
            seconds.append(report["run"]["seconds"])
    record_property("median seconds", round(sorted(seconds)[RUNS // 2]))
    changed = {
        name: [run.get(name) for run in seen] for name in seen[0] if len({run.get(name) for run in seen}) > 1
    }
    assert changed == {}
