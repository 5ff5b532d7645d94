"""Getting a suite, running it, and reading what failed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ("SUITES", "Result", "Suite", "Workshop", "function_of")

ROOT = Path(__file__).parents[3]
_PLUGIN = Path(__file__).parent / "layered.py"
_BIN = Path(sys.executable).parent
_OWN = ("ROADWORTHY_", "DJANGO_")
"""What the variables begin with that this process has for its own tests."""
_LONGEST = 3 * 3600
"""Seconds a suite may take, on a machine that has other work as well."""


@dataclass(frozen=True)
class Suite:
    """One suite.

    Parameters:
        name: of the distribution.
        arguments: of its runner.
    """

    name: str
    arguments: tuple[str, ...]


# The layer runs on asyncio, as the servers do (docs/testing.md), so trio's half is left out; one more test
# runs on both. FastAPI's telemetry runs these modules in processes of their own, where the plugin is not.
# Benchmarks are no tests.
_ASYNCIO = ("-k", "not trio and not test_app_can_be_reused_across_event_loops")
_APART = ("runtime", "integrations", "environment_integrations", "native_integrations", "background")
SUITES = (
    Suite(
        "fastapi",
        (
            *("-n", "2", "-o", "timeout=300", *_ASYNCIO),
            *("--ignore=tests/benchmarks", "--ignore=tests/memory_benchmarks"),
            *(f"--ignore=tests/test_telemetry/test_{name}.py" for name in _APART),
        ),
    ),
    Suite("starlette", _ASYNCIO),
    Suite("django", ("asgi",)),
)


@dataclass(frozen=True)
class Result:
    """The tests of one run, by id, and those among them that failed."""

    ran: frozenset[str]
    failed: frozenset[str]


def function_of(test: str) -> str:
    """Return the id of a test without its parameters: ``tests.test_path::test_path_int``."""
    return test.partition("[")[0]


class Workshop:
    """A folder with the suites' sources and an environment that has what they want.

    Parameters:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / "venv" / "bin" / "python"
        uv = str(_BIN / "uv")
        _run(uv, "venv", "-q", "--python", sys.executable, str(folder / "venv"))
        requirements = str(ROOT / "requirements" / "suites.txt")
        _run(
            *(uv, "pip", "install", "-q", "--python", str(self._python)),
            *("--require-hashes", "-r", requirements),
        )
        for suite in SUITES:
            self._unpack(suite.name)

    def _unpack(self, name: str) -> None:
        code = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
        version = _run(str(self._python), "-c", code).strip()
        target = str(self._folder / "sources")
        options = ("--no-deps", "--no-binary", name, "--dest", target, "-q", "--disable-pip-version-check")
        _run(sys.executable, "-m", "pip", "download", *options, f"{name}=={version}")
        (archive,) = (self._folder / "sources").glob(f"{name}-*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(self._folder, filter="data")

    def run(
        self, suite: Suite, settings: Mapping[str, str] | None = None, only: Iterable[str] = ()
    ) -> Result:
        """Run a suite.

        Parameters:
            suite: which.
            settings: of the layer, by name without prefix; None runs it without the layer.
            only: ids of tests whose modules alone are run.
        """
        (source,) = self._folder.glob(f"{suite.name}-*")
        env = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        env |= {"PYTHONPATH": f"{ROOT / 'src'}:{_PLUGIN.parent}", "PYTHONDONTWRITEBYTECODE": "1"}
        env |= {"ROADWORTHY_ENV": "test", "ROADWORTHY_LOG_LEVEL": "critical"}
        env |= {f"ROADWORTHY_{name}": value for name, value in (settings or {}).items()}
        if suite.name == "django":
            env["PYTHONPATH"] += f":{source}"
            return self._run_django(suite, source / "tests", env, settings is not None)
        modules = sorted({_module(source, test) for test in only}) or ["tests"]
        report = self._folder / f"{suite.name}.xml"
        report.unlink(missing_ok=True)
        command = [str(self._python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        layer = ["-p", "layered"] if settings is not None else []
        done = subprocess.run(
            [*command, *layer, *suite.arguments, *modules],
            cwd=source, env=env, capture_output=True, text=True, check=False, timeout=_LONGEST,
        )  # fmt: skip
        # 1: tests failed. More means that it has not run to its end.
        assert done.returncode in (0, 1), done.stdout[-5000:] + done.stderr[-5000:]
        return _read(report)

    def _run_django(self, suite: Suite, tests: Path, env: Mapping[str, str], layer: bool) -> Result:
        plugin = [_PLUGIN] if layer else []
        done = subprocess.run(
            [self._python, *plugin, "runtests.py", *suite.arguments, "-v2", "--parallel=1"],
            cwd=tests, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=_LONGEST,
        )  # fmt: skip
        assert re.search(r"^Ran \d+ tests", done.stdout, re.MULTILINE), done.stdout[-5000:]
        ran = re.findall(r"^(test_\w+) \(([\w.]+)\.\1\)", done.stdout, re.MULTILINE)
        failed = re.findall(r"^(?:ERROR|FAIL): (test_\w+) \(([\w.]+)\.\1\)", done.stdout, re.MULTILINE)
        return Result(*(frozenset(f"{where}::{name}" for name, where in found) for found in (ran, failed)))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def _module(source: Path, test: str) -> str:
    """Return the path of the module that a test stands in; its class may stand in its id as well."""
    parts = test.partition("::")[0].split(".")
    while not (source.joinpath(*parts).with_suffix(".py")).is_file():
        parts.pop()
    return f"{'/'.join(parts)}.py"


def _read(report: Path) -> Result:
    ran: set[str] = set()
    failed: set[str] = set()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ran.add(name)
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
    return Result(frozenset(ran), frozenset(failed))
