"""What can go wrong with a check itself, as opposed to with the service that is checked."""

__all__ = (
    "CheckError",
    "ControlFailed",
    "ManifestError",
    "PortTaken",
    "StartFailed",
    "TargetLost",
    "Untried",
)


class CheckError(Exception):
    """Raised when a check cannot go on; ``str()`` names the problem and the remedy."""


class ManifestError(CheckError):
    """Raised when the manifest or the command line is wrong; lists every mistake, each with its line."""


class StartFailed(CheckError):
    """Raised when the service ended, or did not become ready, before its start-up time was over."""


class PortTaken(StartFailed):
    """Raised when something else answers on the port already: the check would judge a stranger."""


class TargetLost(CheckError):
    """Raised when the service that was being checked has ended without being asked to."""


class ControlFailed(Exception):
    """Raised by a probe whose control does not hold: the probe ends as inconclusive.

    Parameters:
        undeclared: the manifest's keys without which it cannot hold, by their dotted path.
    """

    def __init__(self, text: str, undeclared: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.undeclared = undeclared


class Untried(ControlFailed):
    """Raised by what a probe may not do: it would write where the check has nothing of its own."""
