"""The concerns of the zoo's service, one module each, in the order in which they see a request."""

from ..service import Part
from .compression import Compression
from .configured import Configured
from .cors import Cors
from .error_classes import ErrorClasses
from .errors import Errors
from .health import Health
from .items import Items
from .limits import Limits
from .logs import Logs
from .made_for_checks import MadeForChecks
from .metrics import Metrics
from .primes import Primes
from .protection import Protection
from .users import Users
from .validation import Validation
from .wiring import Wiring

__all__ = ("PARTS",)

PARTS: tuple[type[Part], ...] = (
    Errors,
    ErrorClasses,
    Logs,
    Limits,
    Cors,
    Metrics,
    Health,
    MadeForChecks,
    Validation,
    Items,
    Users,
    Primes,
    Wiring,
    Configured,
    Protection,
    Compression,
)
