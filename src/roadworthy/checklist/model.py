"""The words of the catalogue: what an item, a pattern and an assertion are."""

from dataclasses import dataclass
from enum import Enum

from .dimensions import Dimension

__all__ = ("Assertion", "Item", "Pattern", "Severity")


class Severity(Enum):
    """What it costs when an assertion does not hold, from the worst down.

    An item counts as proved when all its critical and high assertions hold; medium ones decide only in a
    strict run, low ones and notes never.
    """

    CRITICAL = "critical"
    """Data is lost, or open to others."""
    HIGH = "high"
    """The service fails its users, or an attacker gets in reach."""
    MEDIUM = "medium"
    """A rule of the protocol is broken, or an incident gets longer."""
    LOW = "low"
    """Quality that is noticed by few."""
    INFO = "info"
    """Worth knowing, never a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of the production checklist.

    Parameters:
        id: lower-case words joined by hyphens; the name of the layer's module (with underscores), of the
            page in ``docs/checklist`` and of the tests.
        family: the letters that the ids of its assertions begin with.
        title: how people call it.
        why: what goes wrong without it, in one to three sentences.
        source: the standards and documents that ask for it.
    """

    id: str
    family: str
    title: str
    why: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One code pattern that a service in any stack must show; its fields are those of :class:`Item`."""

    id: str
    family: str
    title: str
    why: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One promise that can be proved or disproved from outside.

    Parameters:
        id: family and number, ``RTL-6``. Never given to another promise, not even after the first is retired.
        item: id of the item or pattern it belongs to.
        severity: what it costs when it does not hold.
        title: the promise, as a sentence that is true of a service that keeps it.
        why: what the promise is good for, in one or two sentences.
        source: where the rule comes from: RFC section, ASVS requirement, documentation or thread.
        depends_on: the dimensions on which a fault that breaks the promise may depend.
    """

    id: str
    item: str
    severity: Severity
    title: str
    why: str
    source: str
    depends_on: tuple[Dimension, ...]
