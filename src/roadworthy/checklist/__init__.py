"""The production checklist as data: twelve items, eight code patterns, and what each of them promises.

This is the one vocabulary of the project. The ids stand in file names, settings, reports and tests; the layer
keeps the promises, the checker proves them, and neither imports more of the other than these names.
"""

from .catalogue import ASSERTIONS, assertion, assertions_of, item, pattern
from .dimensions import Dimension
from .items import ITEMS
from .model import Assertion, Item, Pattern, Severity
from .patterns import PATTERNS

__all__ = (
    "ASSERTIONS",
    "ITEMS",
    "PATTERNS",
    "Assertion",
    "Dimension",
    "Item",
    "Pattern",
    "Severity",
    "assertion",
    "assertions_of",
    "item",
    "pattern",
)
