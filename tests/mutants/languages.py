"""The services that mutants are made of: one in Python, one in Node, one in Go, for the same manifest."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from roadworthy.checklist import ASSERTIONS
from tests.twins import TWINS, cors
from tests.zoo.harness import Twin, manifest_text

__all__ = ("LANGUAGES", "Language")

_HERE = Path(__file__).parent
_COMMAND = '"{python}", "-m", "tests.zoo"'
_CORS = 'origins = ["https://app.example", "https://admin.example:8443"]\ncredentials = true'
_IDS = frozenset(assertion.id for assertion in ASSERTIONS)
_FAULT = re.compile(r'"([a-z]+-\d+)(-[a-z0-9-]+)"')
# What some faults need that the manifest of the others does not have.
_REPLACE: dict[str, tuple[tuple[str, str], ...]] = {
    "COR-10": cors.NONE,
    "cor-2-star": ((_CORS, 'policy = "public"'),),
    "hdr-5-none": (('kind = "window"', 'kind = "window"\ntrusted_proxy_hops = 1'),),
    "rtl-6-per-process": (('window = "2s"', 'window = "10s"'), ('"20/2"', '"20/10"')),
}


@dataclass(frozen=True, slots=True)
class Language:
    """A service, and the faults that it may have.

    Parameters:
        suffix: how the names of its sources end; empty for the zoo's service, whose faults are its twins.
        program: what has to be installed.
        one_process: whether it is one process by design.
    """

    name: str
    suffix: str
    program: str
    one_process: bool = False

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return shutil.which(self.program) is not None

    @property
    def twins(self) -> tuple[Twin, ...]:
        """The faults, in the order of the assertions. In the sources each is named where it is."""
        if not self.suffix:
            return TWINS
        order = [assertion.id for assertion in ASSERTIONS]
        found = {
            match[0].strip('"'): match[1].upper()
            for source in sorted((_HERE / self.name).glob(f"*{self.suffix}"))
            for match in _FAULT.finditer(source.read_text())
            if match[1].upper() in _IDS
        }
        return tuple(
            Twin(fault, fails, replace=_REPLACE.get(fault, _REPLACE.get(fails, ())))
            for fault, fails in sorted(found.items(), key=lambda pair: (order.index(pair[1]), pair[0]))
        )

    def command(self) -> list[str]:
        """Return how the service is started; a build is made once for each process of the tests."""
        if not self.suffix:
            return [sys.executable, "-m", "tests.zoo"]
        if self.name == "go":
            return [str(_built())]
        return [self.program, str(_HERE / self.name / "main.js")]

    def manifest(self, only: Iterable[str]) -> str:
        """Return the manifest for these families."""
        text = manifest_text(only)
        if not self.suffix:
            return text
        words = ", ".join(json.dumps(word) for word in self.command())
        text = text.replace(_COMMAND, words)
        return text.replace('env = "WEB_CONCURRENCY"', 'env = ""') if self.one_process else text


@cache
def _built() -> Path:
    """Build the Go service: ``go run`` would not pass signals on."""
    folder = tempfile.mkdtemp(prefix="zoo-go-")
    atexit.register(shutil.rmtree, folder)
    binary = Path(folder, "service")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    subprocess.run(["go", "build", "-o", str(binary), "."], cwd=_HERE / "go", env=environment, check=True)
    return binary


LANGUAGES = {
    "python": Language("python", "", sys.executable),
    "node": Language("node", ".js", "node"),
    "go": Language("go", ".go", "go", one_process=True),
}
"""The languages by name."""
