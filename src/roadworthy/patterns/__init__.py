"""Patterns of a service's own code: what stands between a handler and its storage."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .fan_out import FanOut, fan_out
from .offload import OffloadPool, RemoteError, WorkerCrashedError, offload

if TYPE_CHECKING:
    from .idempotency import idempotent
    from .repository import Page, Repository, VersionConflictError
    from .stores import TransactionError
    from .stores.answers import TableAnswers, answers_table
    from .stores.database import Database
    from .stores.memory import MemoryAnswers, MemoryRepository, MemoryStore
    from .stores.statements import RefusedStatementError, Statement
    from .stores.tables import TableRepository
    from .transactions import current_unit, transactional, unit_of_work

__all__ = (
    "Database",
    "FanOut",
    "MemoryAnswers",
    "MemoryRepository",
    "MemoryStore",
    "OffloadPool",
    "Page",
    "RefusedStatementError",
    "RemoteError",
    "Repository",
    "Statement",
    "TableAnswers",
    "TableRepository",
    "TransactionError",
    "VersionConflictError",
    "WorkerCrashedError",
    "answers_table",
    "current_unit",
    "fan_out",
    "idempotent",
    "offload",
    "transactional",
    "unit_of_work",
)

# Not imported with the package: the layer takes half a second, and SQLAlchemy need not be installed.
_LATER = {
    "Database": "stores.database",
    "MemoryAnswers": "stores.memory",
    "MemoryRepository": "stores.memory",
    "MemoryStore": "stores.memory",
    "Page": "repository",
    "RefusedStatementError": "stores.statements",
    "Repository": "repository",
    "Statement": "stores.statements",
    "TableAnswers": "stores.answers",
    "TableRepository": "stores.tables",
    "TransactionError": "stores",
    "VersionConflictError": "repository",
    "answers_table": "stores.answers",
    "current_unit": "transactions",
    "idempotent": "idempotency",
    "transactional": "transactions",
    "unit_of_work": "transactions",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = found
    return found
