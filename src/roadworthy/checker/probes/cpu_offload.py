"""Probes of ``cpu-offload`` (CPU)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
