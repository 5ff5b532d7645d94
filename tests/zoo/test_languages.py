"""The conformance of the checker on other languages: twins in Node and Go, as in :mod:`.test_matrix`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from roadworthy.checker import Verdict
from roadworthy.checker.registry import PROBES
from tests.twins.languages import LANGUAGES

from .harness import ITEMS, check_twins, described, judge

_SOURCES = Path(__file__).parent / "languages"

_MANIFEST = """
openapi = ""

[start]
command = {command}
grace = "10s"

[listen]
port_env = "PORT"

[ready]
timeout = "20s"

[health]
live = "/livez"
ready = "/readyz"

[env.set]
ZOO_FAULT = "{fault}"
DRAIN_DELAY = "0.3"

[routes]
{items}
slow = { path = "/api/slow?seconds=1.2" }
{more}

[limits]
body = "1MiB"

[database]
kind = "none"

[shutdown]
style = "lame-duck"
drain_delay = "300ms"
strict_exit = true
""".replace("{items}\n", ITEMS)
_MORE_ROUTES = {"node": 'primes = { path = "/api/primes/{id}" }', "go": ""}
_NEEDS_A_STORE = {"ERR-7", "SHUT-9"}
# Quick ones: one launch each.
_SAMPLE = {"node": "err-4-stack", "go": "val-5-float64"}


@pytest.fixture(scope="session")
def go_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the Go service once: ``go run`` would not pass signals on."""
    binary = tmp_path_factory.mktemp("zoo-go") / "service"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    command = ["go", "build", "-o", str(binary), "."]
    subprocess.run(command, cwd=_SOURCES / "go", env=environment, check=True)
    return binary


def _manifest(language: str, request: pytest.FixtureRequest) -> str:
    """Return the manifest of the service in this language, or skip where the language is not installed."""
    program = shutil.which(language)
    if program is None:
        pytest.skip(f"{language} is not installed")
    if language == "go":
        command = [str(request.getfixturevalue("go_binary"))]
    else:
        command = [program, str(_SOURCES / "node" / "service.js")]
    return _MANIFEST.replace("{command}", json.dumps(command)).replace("{more}", _MORE_ROUTES[language])


def test_twins_are_told_apart() -> None:
    """No two twins of a language have the same fault, and what each fails is what they are listed under."""
    for families in LANGUAGES.values():
        twins = [(only, twin) for only, listed in families.items() for twin in listed]
        names = [twin.fault for _, twin in twins]
        assert len(names) == len(set(names))
        assert all(twin.fails in PROBES and f"{twin.fails}-".startswith(f"{only}-") for only, twin in twins)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sample_of_the_twins(language: str, request: pytest.FixtureRequest) -> None:
    """A twin fails its assertion, tried alone, and the good service passes it."""
    text = _manifest(language, request)
    [twin] = [
        twin for listed in LANGUAGES[language].values() for twin in listed if twin.fault == _SAMPLE[language]
    ]
    [good], [run] = asyncio.run(check_twins([(twin.fails, ())], [twin], whole=False, text=text))
    assert [result.verdict for result in good.results] == [Verdict.PASS], described(good.results)
    assert judge(twin, run) == []


@pytest.mark.proof
@pytest.mark.parametrize(
    ("language", "only"), [(language, only) for language, families in LANGUAGES.items() for only in families]
)
def test_the_whole_matrix_of_a_language(
    language: str, only: str, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """The good service passes the whole family, and each twin fails its own assertion and what it entails."""
    text, twins = _manifest(language, request), LANGUAGES[language][only]
    [good], runs = asyncio.run(check_twins([(only, ())], twins, whole="-" not in only, text=text))
    judged = [result for result in good.results if result.id not in _NEEDS_A_STORE]
    record_property("assertions", len(judged))
    record_property("twins", len(twins))
    not_passed = [result for result in judged if result.verdict is not Verdict.PASS]
    assert not_passed == [], described(not_passed)
    wrong = [line for twin, run in zip(twins, runs, strict=True) for line in judge(twin, run)]
    assert wrong == [], "\n".join(wrong)
