"""The phases of a run: in which order they start, on which process their probes work, what may run beside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

__all__ = ("PHASES", "Phase", "PhasePlan", "Profile")


class Profile(StrEnum):
    """How much is done: ``quick`` leaves out load, faults, waiting and series of starts; reports say so."""

    QUICK = "quick"
    FULL = "full"


class Phase(Enum):
    """When a probe runs, and on which process. Phases start in this order, several side by side."""

    START = "start"
    SERVE = "serve"
    FAULTS = "faults"
    LIMITS = "limits"
    WORKERS = "workers"
    SHUTDOWN = "shutdown"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """How a phase is run.

    Parameters:
        shared: its probes share one process, which is fresh for the phase.
        width: how many of its probes run at the same time.
        alone: nothing else runs meanwhile, because it makes load or measures times.
        limited: its process has the shorter rate limit of the manifest.
        why: the reason for this.
    """

    title: str
    shared: bool
    width: int
    alone: bool
    limited: bool
    why: str


PHASES: dict[Phase, PhasePlan] = {
    Phase.START: PhasePlan(
        "starts", False, 2, False, False, "each probe starts the service with another environment"
    ),
    Phase.SERVE: PhasePlan(
        "serving", True, 1, False, False, "ordinary traffic, one probe after the other, below the limit"
    ),
    Phase.FAULTS: PhasePlan(
        "faults", True, 1, False, False, "the store is broken and repaired, so nobody else may use it"
    ),
    Phase.LIMITS: PhasePlan(
        "limits", True, 1, False, True, "uses up the client's budget, so it has a process to itself"
    ),
    Phase.WORKERS: PhasePlan("workers", False, 1, False, False, "several worker processes"),
    Phase.SHUTDOWN: PhasePlan("shutdown", False, 3, False, False, "each probe stops a process of its own"),
    Phase.LOAD: PhasePlan(
        "load", True, 1, True, False, "makes load and measures times: nothing runs beside it"
    ),
}
