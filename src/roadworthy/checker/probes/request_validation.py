"""Probes of ``request-validation`` (VAL)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
