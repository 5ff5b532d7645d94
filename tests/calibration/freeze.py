"""Freezes what the targets do now: `python -m tests.calibration.freeze [TARGET ...]`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from roadworthy.checker.manifest.read import load_manifest

from .expected import FOLDER, manifest_of, read_expected, write_expected
from .observe import observe_stop
from .verdicts import verdicts_on


def _freeze(targets: list[str]) -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([FOLDER / "build"], check=True)
    expected = read_expected()
    for name in targets or list(expected):
        entry, manifest = expected[name], load_manifest(manifest_of(name))
        with tempfile.TemporaryDirectory() as folder:
            stop = asyncio.run(observe_stop(manifest, Path(folder)))
        verdicts = asyncio.run(verdicts_on(manifest, entry.families))
        expected[name] = replace(entry, stop=stop, verdicts=verdicts)
        write_expected(expected)
        print(name, stop, verdicts, sep="\n  ", flush=True)


if __name__ == "__main__":
    _freeze(sys.argv[1:])
