"""Users' type checkers understand the public interface, and refuse what is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
API = ROOT / "tests" / "typing" / "api.py"


WRONG = (
    "# pyright: strict",
    "from roadworthy import NotFoundError, RouteRule, Settings, roadworthy",
    "roadworthy(42)",
    "RouteRule(body_limit=[])",
    "NotFoundError(status='gone')",
    "size: str = Settings().body_limit",
    "roadworthy(lambda: None, routes={'/a': '5/minute'})",
)


@pytest.fixture(scope="module", params=["mypy", "pyright"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """Run a type checker at its strictest over a right and a wrong use, as a user of the package would.

    Both in one run: most of its time it reads the package.
    """
    folder = tmp_path_factory.mktemp("typing")
    wrong = folder / "wrong.py"
    wrong.write_text("\n".join(WRONG) + "\n")
    commands = {
        "mypy": ["mypy", "--strict", "--warn-unreachable", "--cache-dir", str(folder / "cache")],
        "pyright": ["pyright", "--pythonpath", sys.executable],
    }
    command = [sys.executable, "-m", *commands[request.param], str(API), str(wrong)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_public_interface_can_be_used_typed(report: tuple[int, str]) -> None:
    """The use shown in tests/typing/api.py is accepted in strict mode."""
    _, printed = report
    errors = [line for line in printed.splitlines() if re.search(r"\berror:", line)]
    assert errors, printed
    assert [line for line in errors if "wrong.py:" not in line] == [], printed


def test_a_wrong_use_is_refused(report: tuple[int, str]) -> None:
    """Each of a few mistakes is reported in its line, so the types are not merely Any."""
    code, printed = report
    assert code == 1, printed
    reported = {int(line) for line in re.findall(r"wrong\.py:(\d+):.*error", printed)}
    assert reported == {3, 4, 5, 6, 7}, printed


def test_every_public_name_has_a_known_type(tmp_path: Path) -> None:
    """Pyright finds names in the interface of the typed package, and none of them of unknown type."""
    # Run elsewhere and with the environment active, else pyright looks into the repository, not the package.
    commands = Path(sys.executable).parent
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--ignoreexternal", "--verifytypes", "roadworthy"],
        cwd=tmp_path,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    exported = re.search(r'Symbols exported by "roadworthy": (\d+)', done.stdout)
    assert exported, done.stdout + done.stderr
    assert int(exported[1]) > 100
    assert re.findall(r"With unknown type: (\d+)", done.stdout) == ["0", "0"], done.stdout
