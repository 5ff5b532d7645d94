"""Error handling: one shape for every producer."""

import json
from typing import Any

import pytest

from roadworthy import (
    APIError,
    ConflictError,
    FieldError,
    NotFoundError,
    Settings,
    UnavailableError,
    ValidationError,
)
from roadworthy.layer.error_handling import ErrorHandling
from tests.layer.conftest import make_exchange


def _encoded(
    error: APIError, exception: Exception | None = None, **settings: Any
) -> tuple[dict[str, str], Any]:
    item = ErrorHandling(Settings(**settings))
    exchange = make_exchange("GET", "/api/users/ü x", request_id="r-1", exception=exception)
    reply = item.encode(exchange, error)
    assert reply.status == error.status
    return {name.decode(): value.decode() for name, value in reply.headers}, json.loads(reply.body)


def test_a_problem_has_the_members_of_rfc_9457_and_ours() -> None:
    """The document names type, title, status, detail, instance, and adds code and request id."""
    headers, document = _encoded(NotFoundError("User not found"))
    assert headers["content-type"] == "application/problem+json"
    assert document == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "User not found",
        "instance": "/api/users/%C3%BC%20x",
        "code": "NOT_FOUND",
        "request_id": "r-1",
    }


def test_a_validation_error_lists_its_fields() -> None:
    """Each refused field has a pointer, a message and a code."""
    error = ValidationError(errors=[FieldError("/email", "Field required", "missing")])
    _, document = _encoded(error)
    assert document["errors"] == [{"pointer": "/email", "message": "Field required", "code": "missing"}]


def test_the_envelope_is_the_guides() -> None:
    """ERROR_FORMAT=envelope gives {"error": {code, message, details}} and nothing else."""
    headers, document = _encoded(ConflictError("Taken", details={"field": "email"}), error_format="envelope")
    assert headers["content-type"] == "application/json"
    assert document == {"error": {"code": "CONFLICT", "message": "Taken", "details": {"field": "email"}}}


@pytest.mark.parametrize("error_format", ["problem", "envelope"])
def test_a_stack_leaves_in_development_only(error_format: str) -> None:
    """The stack of a 500 is in the body where the environment is development, and nowhere else."""
    exception = RuntimeError("canary-7")
    _, shown = _encoded(APIError(), exception, env="development", error_format=error_format)
    _, hidden = _encoded(APIError(), exception, env="production", error_format=error_format)
    assert "canary-7" in json.dumps(shown)
    assert "canary-7" not in json.dumps(hidden)
    assert "stack" not in json.dumps(hidden)


def test_details_that_json_cannot_carry_do_not_lose_the_error() -> None:
    """An error with unserialisable details still arrives, without them."""
    for error_format in ("problem", "envelope"):
        _, document = _encoded(ConflictError(details={"x": object()}), error_format=error_format)
        assert "details" not in json.dumps(document)
        assert "CONFLICT" in json.dumps(document)


def test_fields_of_the_error_become_fields_of_the_response() -> None:
    """Retry-After and the like travel with the error."""
    headers, _ = _encoded(UnavailableError(retry_after=7))
    assert headers["retry-after"] == "7"


def test_an_unknown_exception_is_a_500_without_its_text() -> None:
    """What a client is told of an unhandled exception does not depend on it."""
    error = ErrorHandling(Settings()).from_exception(RuntimeError("canary-8"), "GET")
    assert (error.status, error.code, error.message) == (500, "INTERNAL_ERROR", "Internal Server Error")


def test_an_error_inside_a_group_is_found() -> None:
    """A TaskGroup wraps what its children raise; the service's own error still decides."""
    group = ExceptionGroup("x", [RuntimeError("y"), ExceptionGroup("z", [NotFoundError("gone")])])
    assert ErrorHandling(Settings()).from_exception(group, "GET").message == "gone"


def test_an_error_status_must_be_one() -> None:
    """APIError refuses a status that is no error."""
    with pytest.raises(ValueError, match="between 400 and 599"):
        APIError("x", status=200)
