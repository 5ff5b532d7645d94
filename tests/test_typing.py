"""Users' type checkers understand the public interface, and refuse what is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
API = ROOT / "tests" / "typing" / "api.py"


def check(tool: str, file: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a type checker at its strictest over one file, as a user of the package would."""
    commands = {
        "mypy": ["mypy", "--strict", "--warn-unreachable", "--cache-dir", str(cache), str(file)],
        "pyright": ["pyright", "--pythonpath", sys.executable, str(file)],
    }
    return subprocess.run(
        [sys.executable, "-m", *commands[tool]], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_the_public_interface_can_be_used_typed(tool: str, tmp_path: Path) -> None:
    """The use shown in tests/typing/api.py is accepted in strict mode."""
    done = check(tool, API, tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_a_wrong_use_is_refused(tool: str, tmp_path: Path) -> None:
    """Each of a few mistakes is reported in its line, so the types are not merely Any."""
    lines = [
        "# pyright: strict",
        "from roadworthy import NotFoundError, RouteRule, Settings, roadworthy",
        "roadworthy(42)",
        "RouteRule(body_limit=[])",
        "NotFoundError(status='gone')",
        "size: str = Settings().body_limit",
        "roadworthy(lambda: None, routes={'/a': '5/minute'})",
    ]
    wrong = tmp_path / "wrong.py"
    wrong.write_text("\n".join(lines) + "\n")
    done = check(tool, wrong, tmp_path / "cache")
    assert done.returncode == 1, done.stdout + done.stderr
    reported = {number for number in range(1, 8) if f"wrong.py:{number}:" in done.stdout}
    assert reported == {3, 4, 5, 6, 7}, done.stdout


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
