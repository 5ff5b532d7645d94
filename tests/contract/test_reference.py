"""The reference service keeps the contract, in both formats of errors, by both entry points."""

import subprocess
import sys
from pathlib import Path

import pytest

from ..reference_service import reference_service

pytestmark = pytest.mark.long

__all__ = ("run_suite",)

_ROOT = Path(__file__).parents[2]


def run_suite(url: str, *options: str) -> tuple[int, str]:
    """Run the contract suite against a service; return its exit code and what it printed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "contract",
        "--base-url",
        url,
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",  # it takes a second of each start, and the suite has no use for it
        *options,
    ]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def open_rows(printed: str) -> set[str]:
    """Return the rows that the suite said are not there yet."""
    lead = "not there yet: "
    return {line.removeprefix(lead) for line in printed.splitlines() if line.startswith(lead)}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    ("entry", "format_", "options"),
    [
        ("reference.main:app", "problem", ()),
        ("reference.probe:app", "problem", ("--probe", "-k", "test_operations")),
        ("reference.probe:app", "envelope", ("--probe", "--error-format", "envelope")),
    ],
)
def test_contract(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    entry: str,
    format_: str,
    options: tuple[str, ...],
    database: str,
) -> None:
    """The suite passes on both databases, and no row is missing."""
    url = f"sqlite:///{tmp_path}/data.db"
    if database == "postgres":
        url = request.getfixturevalue("postgres").fresh_url()
    settings = {"ROADWORTHY_ERROR_FORMAT": format_, "DATABASE_URL": url}
    with reference_service(tmp_path, entry, **settings) as running:
        code, printed = run_suite(running.url, "--complete", *options)
    assert code == 0, printed[-5000:]
    assert open_rows(printed) == set()


def test_rate_limited_service(tmp_path: Path) -> None:
    """A service with a rate limit can be tested too: the suite waits as long as it is told to."""
    with reference_service(tmp_path, ROADWORTHY_RATE_LIMIT="10/second") as running:
        code, printed = run_suite(
            running.url, "-k", "test_unknown_path or test_other_method or test_bad_limit"
        )
        assert code == 0, printed[-5000:]
        assert any('"status":429' in line for line in running.lines())
