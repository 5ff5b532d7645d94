"""What a probe can do to the store behind a service, and what it can count there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

__all__ = ("Fault", "NoFault", "Store")


class Fault(StrEnum):
    """What can be done to a store."""

    REFUSE = "refuse"
    """Nobody listens, and open connections are reset: the server is down."""
    STALL = "stall"
    """Connections are accepted and stay open, and nothing comes back: the server hangs."""
    BLACK_HOLE = "black-hole"
    """New connections are not even accepted, and open ones are silent: the network is cut."""
    RESET = "reset"
    """Every open connection is reset once; new ones work."""
    COMMIT = "commit"
    """Everything works up to the commit, which fails and is not carried out."""


class NoFault(Exception):
    """Raised when a store cannot have this fault."""


class Store:
    """The store of one target.

    Parameters:
        url: what the target is given instead of the declared URL.
        declared: the URL of the server itself.
        can: the faults that can be injected.
    """

    url: str
    declared: str = ""
    can: frozenset[Fault] = frozenset()

    counted: bool = True
    """Whether the numbers below are counted at all."""
    opens: int = 0
    """Sessions opened so far; a request for TLS or for a cancellation does not count."""
    live: int = 0
    """Sessions open now."""
    peak: int = 0
    """The most that were open at the same time; may be set back."""
    to_server: int = 0
    """Bytes from the service so far: the control that a route touches the store at all."""
    farewells: int = 0
    """Sessions that the service has ended as its protocol asks for."""
    dropped: int = 0
    """Sessions that the service has ended without a word, although the protocol has one."""
    busy_peak: int = 0
    """The most connections that waited for an answer at the same time; set it to 0 to count anew."""
    commits_cut: int = 0
    """Commits that :attr:`Fault.COMMIT` kept from the server."""
    delay: Callable[[], float] | None = None
    """How many seconds each answer of the server is held back, where that can be done."""

    def processes(self, pids: Iterable[int]) -> int:
        """Return how many of these processes have sessions now."""
        return 0

    def look(self) -> None:
        """Bring the numbers up to date, where they are not by themselves."""

    async def inject(self, fault: Fault) -> None:
        """Begin a fault (for RESET: do it once).

        Raises:
            NoFault: this store cannot have it.
        """
        raise NoFault(f"this store cannot {fault}")

    async def restore(self) -> None:
        """End every fault; a delay stays."""

    def left_in_transaction(self, seconds: float) -> int | None:
        """Return how many sessions idle in an open transaction for longer; None where it cannot be seen."""
        return None

    async def close(self) -> None:
        """Stop."""
