"""Reads and writes `expected.toml`: what stock servers do, frozen."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .observe import Observed

__all__ = ("FOLDER", "Expected", "manifest_of", "read_expected", "write_expected")

FOLDER = Path(__file__).parent
_FILE = FOLDER / "expected.toml"
_HEAD = """\
# What stock servers do, frozen: a rule of the checker that moves a verdict is seen here in review.
#
# `stop` was seen without the checker (observe.py): what happened to a request in flight, to new connections
# and to an idle one after SIGTERM, the exit status (negative: the signal), and whether something still
# listened after the exit. `verdicts` is what the checker says about every assertion of `families`.
# After a change that is meant: python -m tests.calibration.freeze [TARGET ...]
"""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is frozen of one target."""

    families: tuple[str, ...]
    stop: Observed
    verdicts: Mapping[str, str] = field(default_factory=dict[str, str])


def manifest_of(target: str) -> Path:
    """Return the manifest of a target."""
    return FOLDER / "targets" / f"{target}.toml"


def read_expected() -> dict[str, Expected]:
    """Return what is frozen, by target."""
    return {
        name: Expected(tuple(entry["families"]), Observed(**entry["stop"]), entry["verdicts"])
        for name, entry in tomllib.loads(_FILE.read_text()).items()
    }


def write_expected(expected: Mapping[str, Expected]) -> None:
    """Freeze this."""
    parts = [_HEAD]
    for name, entry in sorted(expected.items()):
        stop = ", ".join(f"{key} = {_toml(value)}" for key, value in asdict(entry.stop).items())
        lines = [
            f"[{name}]",
            f"families = [{', '.join(map(_toml, entry.families))}]",
            f"stop = {{ {stop} }}",
            "",
            f"[{name}.verdicts]",
            *(f"{identifier} = {_toml(verdict)}" for identifier, verdict in entry.verdicts.items()),
        ]
        parts.append("\n".join(lines) + "\n")
    _FILE.write_text("\n".join(parts))


def _toml(value: object) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
    )
