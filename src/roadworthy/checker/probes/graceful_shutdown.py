"""Probes of ``graceful-shutdown`` (SHUT)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
