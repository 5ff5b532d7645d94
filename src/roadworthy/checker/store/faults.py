"""Faults of the store behind a service: refused, reset, stalled; and how many connections the service opens.

A server is reached through a proxy of bytes that is put in front of it by rewriting the declared URL. An
SQLite file is stalled by a lock that the checker holds, and watched.
"""

from .access import Fault, NoFault, Store
from .proxy import FaultProxy
from .sqlite import SqliteFile

__all__ = ("Fault", "FaultProxy", "NoFault", "SqliteFile", "Store")
