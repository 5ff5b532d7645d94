"""The rows of the contract, and how to see from outside which of them a service has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .api import Api

__all__ = ("ROWS", "Row", "open_rows")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the contract.

    Parameters:
        name: method and path as in ``openapi.yaml``, or the name of a header that rows share.
        served: asks a service whether it has the row.
    """

    name: str
    served: Callable[[Api], bool]


def _answers(method: str, path: str, body: object = None) -> Callable[[Api], bool]:
    # The path names an existing user where it names one, so 404 can only mean that there is no such route.
    def served(api: Api) -> bool:
        target = path.format(id=_anyone(api)) if "{id}" in path else path
        return api.send(method, target, json=body).status_code not in (404, 405, 501)

    return served


def _anyone(api: Api) -> int:
    response = api.create_user()
    number = response.json().get("id") if response.status_code == 201 else None
    return number if isinstance(number, int) else 1


def _post(api: Api) -> bool:
    user = _anyone(api)
    response = api.create_post(user)
    if response.status_code != 201:
        return False
    return api.send("GET", f"/api/users/{user}/posts/{response.json().get('id')}").status_code != 404


def _idempotency(api: Api) -> bool:
    headers = {"Idempotency-Key": api.unique("row")}
    body = {"name": "Row", "email": api.unique_email()}
    first = api.send("POST", "/api/users", json=body, headers=headers)
    again = api.send("POST", "/api/users", json=body, headers=headers)
    return (first.status_code, again.status_code) == (201, 201)


ROWS = (
    Row("GET /api/users", _answers("GET", "/api/users")),
    Row("POST /api/users", _answers("POST", "/api/users", {})),
    Row("GET /api/users/{id}", _answers("GET", "/api/users/{id}")),
    Row("PUT /api/users/{id}", _answers("PUT", "/api/users/{id}", {})),
    Row("DELETE /api/users/{id}", _answers("DELETE", "/api/users/{id}")),
    Row("GET /api/users/{id}/posts", _answers("GET", "/api/users/{id}/posts")),
    Row("POST /api/users/{id}/posts", _answers("POST", "/api/users/{id}/posts", {})),
    Row("GET /api/users/{id}/posts/{post_id}", _post),
    Row("GET /api/users/{id}/overview", _answers("GET", "/api/users/{id}/overview")),
    Row("POST /api/users/batch", _answers("POST", "/api/users/batch", {"ids": []})),
    Row("POST /api/transfers", _answers("POST", "/api/transfers", {})),
    Row("GET /api/primes/{n}", _answers("GET", "/api/primes/10")),
    Row("Idempotency-Key", _idempotency),
    Row("GET /livez", _answers("GET", "/livez")),
    Row("GET /readyz", _answers("GET", "/readyz")),
)


def open_rows(api: Api) -> tuple[str, ...]:
    """Return the names of the rows that the service does not have."""
    return tuple(row.name for row in ROWS if not row.served(api))
