"""The concerns of the zoo's service, one module each, in the order in which they see a request."""

from ..service import Part
from .errors import Errors
from .health import Health
from .items import Items
from .logs import Logs
from .made_for_checks import MadeForChecks
from .metrics import Metrics

__all__ = ("PARTS",)

PARTS: tuple[type[Part], ...] = (Errors, Logs, Metrics, Health, MadeForChecks, Items)
