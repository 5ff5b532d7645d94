"""What happens in a run, as events. The runner emits them, everything that prints or writes only listens.

Results are masked before they become events: nothing after this point can show a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .declare import Unlock
from .manifest.model import Manifest
from .phases import Profile
from .verdict import ExitCode, ItemResult, Result, Waiver

__all__ = (
    "Calibration",
    "Event",
    "Listener",
    "Notice",
    "PhaseFinished",
    "PhaseStarted",
    "ProbeFinished",
    "ProbeStarted",
    "Run",
    "RunFinished",
    "RunStarted",
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How fast this machine is, measured against a built-in server: a slow runner is seen in the report.

    Parameters:
        p50, p99: milliseconds of a request over a new connection.
        slowness: what deadlines are multiplied by.
        files: how many file descriptors the checker may have open.
    """

    p50: float
    p99: float
    slowness: float
    files: int
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A whole run; every report is made from it.

    Parameters:
        target: what was checked, in words.
        began: ISO 8601 time in UTC.
        addresses: what ``$URL`` and ``$METRICS_URL`` of the commands stand for: name and value of those used.
        restart: a command that starts the service there again; empty where the check did not start it.
        undeclared: what to declare so that more is tried, best first.
        limits: what this run could not prove from the outset, and why (URL mode, the quick profile).
        overlay: what was different during the check (``[check]`` of the manifest), in words.
        unused_waivers, expired_waivers: those that covered nothing, and those whose day has come.
    """

    version: str
    id: str
    target: str
    profile: Profile
    strict: bool
    began: str
    seconds: float
    manifest: Manifest
    calibration: Calibration | None
    results: tuple[Result, ...]
    items: tuple[ItemResult, ...]
    notices: tuple[str, ...]
    addresses: tuple[tuple[str, str], ...]
    restart: str
    undeclared: tuple[Unlock, ...]
    limits: tuple[str, ...]
    overlay: tuple[str, ...]
    unused_waivers: tuple[Waiver, ...]
    expired_waivers: tuple[Waiver, ...]
    launches: int
    requests: int
    exit_code: ExitCode


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The plan is made; nothing was started yet."""

    target: str
    profile: Profile
    total: int
    limits: tuple[str, ...]
    overlay: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something people should know about the run itself."""

    text: str


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A phase begins."""

    phase: str
    total: int


@dataclass(frozen=True, slots=True)
class PhaseFinished:
    """A phase is over."""

    phase: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ProbeStarted:
    """A probe begins."""

    id: str
    title: str
    phase: str


@dataclass(frozen=True, slots=True)
class ProbeFinished:
    """A verdict is there."""

    result: Result


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Everything is over."""

    run: Run


Event: TypeAlias = (
    RunStarted | Notice | PhaseStarted | PhaseFinished | ProbeStarted | ProbeFinished | RunFinished
)
Listener: TypeAlias = Callable[[Event], None]
