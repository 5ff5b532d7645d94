"""Patterns of a service's own code: what stands between a handler and its storage."""

__all__ = ()
