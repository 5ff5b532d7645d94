"""Sessions of SQLAlchemy that write inside a unit of work and are not its own.

Such a session is committed by nobody, or by itself and not with the unit: a handler that takes
``@transactional`` for a commit answers 200 and has written nothing. SQLAlchemy reports what its sessions do,
so the mistake can be pointed out where it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session

if TYPE_CHECKING:
    from ..transactions import UnitOfWork

__all__ = ("OWN", "watch")

OWN = "roadworthy.own"
"""Key of ``Session.info``: the session is a unit's own."""

_current_unit: Callable[[], UnitOfWork | None] | None = None


def watch(current_unit: Callable[[], UnitOfWork | None]) -> None:
    """Have sessions noted from now on; once in a process.

    Parameters:
        current_unit: returns the unit of work that the running code takes part in.
    """
    global _current_unit
    if _current_unit is None:
        _current_unit = current_unit
        event.listen(Session, "transient_to_pending", _on_added)
        event.listen(Session, "after_flush", _on_flush)
        event.listen(Session, "do_orm_execute", _on_statement)
        event.listen(Session, "after_commit", _on_commit)


def _on_added(session: Session, _: Any) -> None:
    _note(session)


def _on_flush(session: Session, _: Any) -> None:
    _note(session)


def _on_statement(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        _note(state.session)


def _on_commit(session: Session) -> None:
    unit = _current_unit() if _current_unit is not None else None
    if unit is not None:
        unit.strangers.discard(session)


def _note(session: Session) -> None:
    unit = _current_unit() if _current_unit is not None else None
    if unit is not None and OWN not in session.info:
        unit.strangers.add(session)
