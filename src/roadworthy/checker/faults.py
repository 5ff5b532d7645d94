"""Faults of the store behind a service: refused, reset, stalled; and how many connections the service opens.

A server is reached through a proxy of bytes that is put in front of it by rewriting the declared URL. An
SQLite file is stalled by a lock that the checker holds, and watched.
"""

from ._fault_proxy import FaultProxy
from ._sqlite_file import SqliteFile
from ._store import Fault, NoFault, Store

__all__ = ("Fault", "FaultProxy", "NoFault", "SqliteFile", "Store")
