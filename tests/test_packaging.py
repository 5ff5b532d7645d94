"""The wheel, as a user gets it: built, installed alone into a fresh environment, imported, run."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """Run a command that has to succeed, and return what it wrote to standard output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the backend that is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder], ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel and nothing but what it asks for, and return the environment's folder of commands."""
    folder = tmp_path_factory.mktemp("environment")
    uv = Path(sys.executable).with_name("uv")
    run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], folder)
    commands = folder / "venv" / "bin"
    run([uv, "pip", "install", "--quiet", "--python", commands / "python", wheel], folder)
    return commands


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """The wheel has every module, the mark of a typed package and the licence; no tests and no scripts."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = ROOT / "src"
    modules = {str(path.relative_to(source)) for path in (source / "roadworthy").rglob("*.py")}
    assert modules | {"roadworthy/py.typed"} <= names
    rest = {re.sub(r"^roadworthy-[^/]+\.dist-info/", "", name) for name in names if ".dist-info/" in name}
    assert rest == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"roadworthy"}


def test_the_wheel_describes_itself(wheel: Path) -> None:
    """The metadata has a licence, the Python versions, the extras and a description to show."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/METADATA"))
        head, _, description = archive.read(name).decode().partition("\n\n")
    assert "License-Expression: MIT" in head
    assert "Requires-Python: >=3.11" in head
    extras = re.findall(r"^Provides-Extra: (.+)$", head, re.MULTILINE)
    assert extras == ["check", "dask", "fastapi", "otel", "postgres", "redis"]
    assert description.lstrip().startswith("# Roadworthy")


def test_an_installed_wheel_can_be_imported(installed: Path) -> None:
    """The base install has everything that the front door needs; frameworks and drivers are not among it."""
    code = (
        "import sys, roadworthy; from importlib.metadata import version;"
        "assert roadworthy.__version__ == version('roadworthy');"
        "absent = ['fastapi', 'django', 'litestar', 'starlette', 'redis', 'sqlalchemy', 'opentelemetry'];"
        "print([name for name in absent if name in sys.modules])"
    )
    assert run([installed / "python", "-W", "error", "-c", code], installed) == "[]\n"


def test_an_installed_wheel_wraps_an_app(installed: Path) -> None:
    """With the base install alone, an app can be wrapped and its liveness asked."""
    code = """
import asyncio
from roadworthy import roadworthy

async def app(scope, receive, send):
    raise AssertionError("liveness does not reach the app")

sent = []

async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}

async def send(message):
    sent.append(message)

scope = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
    "path": "/livez", "raw_path": b"/livez", "query_string": b"", "root_path": "", "headers": [],
    "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
}
asyncio.run(roadworthy(app, log_level="critical")(scope, receive, send))
print(sent[0]["status"])
"""
    assert run([installed / "python", "-W", "error", "-c", code], installed).splitlines()[-1] == "200"


def test_an_installed_wheel_has_the_command(installed: Path) -> None:
    """The command is installed, names its verbs, and the module can be run in its place."""
    shown = run([installed / "roadworthy", "--help"], installed)
    assert "run" in shown
    assert "config" in shown
    version = run([installed / "roadworthy", "--version"], installed)
    assert re.search(r"\b\d+\.\d+\.\d+\b", version)
    assert run([installed / "python", "-m", "roadworthy", "--version"], installed) == version
