"""Probes of ``wiring`` (WIR)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
