"""A case as data: what is done, what counts as holding, and what does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from .bench import Bench

__all__ = ("GROUPS", "SUBJECTS", "Case", "Seen", "Setup", "Subject", "holds_if")

Subject: TypeAlias = Literal["roadworthy", "uvicorn", "granian"]
SUBJECTS: dict[Subject, str] = {
    "roadworthy": "roadworthy run",
    "uvicorn": "uvicorn + usual packages",
    "granian": "granian + usual packages",
}
GROUPS: dict[str, str] = {
    "lifecycle": "Lifecycle",
    "parsing": "Parsing of raw requests",
    "proxied": "Smuggling behind nginx and haproxy",
    "slow": "Slow and many clients, heavy requests",
    "limits": "Rate limits and Redis faults",
    "input": "Input, headers, identity",
    "observability": "Observability",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """How the service is started.

    Parameters:
        env: variables for every server.
        ours: further variables for Roadworthy's settings, without their prefix.
        flags: further words of a server's command line.
        workers: processes that serve.
        descriptors: how many files each process may have open.
    """

    env: Mapping[str, str] = field(default_factory=dict[str, str])
    ours: Mapping[str, str] = field(default_factory=dict[str, str])
    flags: Mapping[Subject, tuple[str, ...]] = field(default_factory=dict["Subject", tuple[str, ...]])
    workers: int = 1
    descriptors: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """How a case went on one server.

    Parameters:
        holds: the criterion is met.
        text: what was seen, in a few words and numbers.
    """

    holds: bool
    text: str = ""


def holds_if(faults: list[str], seen: str = "") -> Seen:
    """Return a :class:`Seen` that holds without faults, and names the first of them."""
    if not faults:
        return Seen(True, seen)
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return Seen(False, "; ".join(faults[:3]) + more)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Parameters:
        id: the family's letter and number, as in the plan that the cases come from.
        group: one of :data:`GROUPS`.
        what: what is done to the service.
        passes: the criterion.
        drive: does it to one server.
        smoke: it is part of `make test`.
        absent: why it is not tried on a server.
        seconds: after which it is given up.
    """

    id: str
    group: str
    what: str
    passes: str
    drive: Callable[[Bench], Seen]
    smoke: bool = False
    absent: Mapping[Subject, str] = field(default_factory=dict["Subject", str])
    seconds: float = 90.0
