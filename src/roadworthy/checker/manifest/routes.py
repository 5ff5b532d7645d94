"""The routes that a manifest declares, by the roles that probes ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict
from pydantic.dataclasses import dataclass

from .values import ROLES, AbsolutePath, Identifier, Role, Variables, at_least, is_table

__all__ = ("STRICT", "Route", "Routes", "with_roles")

STRICT = ConfigDict(extra="forbid")
"""An unknown key is a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Route:
    """One route of ``[routes]``.

    Parameters:
        method: ``GET`` unless the role implies another.
        path: with ``{id}`` where an id goes.
        body: JSON; ``{unique}`` in a text becomes something that was never sent before, and the text
            ``{number}`` a whole number that was not (for clients that choose the id themselves).
        id: where a created resource's id stands, ``$.id``; for the other routes the id of a resource that is
            always there (``1``), for services on which none can be created.
        status: the success status, where it is not obvious.
        headers: further fields to send.
        message: the text of the exception that ``fails`` raises, which no client may read; ``{canary}`` in
            its path is replaced, if the service raises the text that a request names.
    """

    role: str
    method: Annotated[str, AfterValidator(str.upper)]
    path: AbsolutePath
    body: Any = None
    id: Identifier = "$.id"
    status: Annotated[int, at_least(100)] | None = None
    headers: Variables = field(default_factory=dict[str, str])
    message: str = ""

    @property
    def literal(self) -> str:
        """The id of a resource that is always there; empty when none is declared."""
        return "" if self.id.startswith("$") else self.id

    def __str__(self) -> str:
        """Return ``GET /items/{id}``."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Routes:
    """``[routes.*]``: the routes by the part they play; None where a part is not played.

    ``create``, ``read``, ``list``, ``update`` and ``delete`` are of one resource; ``child_*`` of another that
    belongs to it (``{id}`` is the parent). ``slow`` takes at least two seconds, ``fails`` raises, ``large``
    answers at least 8 KiB of text, ``stream`` sends events, ``html`` is a page, ``binary`` answers with what
    is compressed already (an image). ``overview``, ``batch``, ``transfers`` and ``primes`` are those of the
    code patterns.
    """

    by_role: Mapping[Role, Route] = field(default_factory=dict[str, Route])

    def __getattr__(self, role: str) -> Route | None:
        """Return the route of a role."""
        if role not in ROLES:
            raise AttributeError(role)
        return self.by_role.get(role)

    def __iter__(self) -> Iterator[Route]:
        """Yield the declared routes."""
        return iter(self.by_role.values())


def with_roles(routes: object) -> object:
    """Give each route of the file its role, and the method that the role implies."""
    if isinstance(routes, Routes) or not is_table(routes):
        return routes
    by_role: dict[str, object] = {}
    for role, route in routes.items():
        implied = {"role": role, "method": ROLES.get(role, "GET")}
        by_role[role] = {**implied, **route} if is_table(route) else route
    return {"by_role": by_role}
