"""Probes of ``rate-limiting`` (RTL)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
