"""Probes of ``connection-pooling`` (POOL)."""

from ..probe import Probe

__all__ = ("PROBES",)

PROBES: tuple[Probe, ...] = ()
