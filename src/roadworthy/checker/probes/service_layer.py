"""Probes of ``service-layer`` (SVC)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
