"""Probes of ``health-check`` (HLT)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
