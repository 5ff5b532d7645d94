"""Probes of ``environment`` (ENV)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
