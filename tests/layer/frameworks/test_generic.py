"""The adapter for apps of no known framework, and what all adapters share."""

import pytest

from roadworthy.layer.frameworks import detect
from roadworthy.layer.frameworks._defaults import error_for_status
from roadworthy.layer.frameworks._validation import field_errors, pointer_of
from tests.apps import raw_asgi


def test_nothing_is_claimed_about_an_unknown_app() -> None:
    """No route, no page and no body of an unknown app is the framework's."""
    framework = detect(raw_asgi.create())
    assert (framework.name, framework.routes(), framework.docs_paths()) == ("asgi", (), frozenset())
    assert framework.problem_of(404, "text/plain", b"Not Found", {}) is None
    assert framework.route_of({}) is None
    assert framework.route_of({"route": "/noted/{x}"}) == "/noted/{x}"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BAD_REQUEST"),
        (401, "UNAUTHORIZED"),
        (403, "FORBIDDEN"),
        (404, "NOT_FOUND"),
        (405, "METHOD_NOT_ALLOWED"),
        (413, "PAYLOAD_TOO_LARGE"),
        (415, "UNSUPPORTED_MEDIA_TYPE"),
        (418, "IM_A_TEAPOT"),
        (422, "VALIDATION_ERROR"),
        (500, "INTERNAL_ERROR"),
        (503, "UNAVAILABLE"),
        (599, "ERROR"),
    ],
)
def test_a_status_has_its_usual_code(status: int, code: str) -> None:
    """A framework's error gets the code that the service's own error of that status has."""
    error = error_for_status(status)
    assert (error.status, error.code, error.headers) == (status, code, {})


@pytest.mark.parametrize(
    ("location", "pointer"),
    [
        (("body",), ""),
        (("body", "a", 0, "b"), "/a/0/b"),
        (("body", "a/b", "c~d"), "/a~1b/c~0d"),
        (("query", "limit"), "query/limit"),
        (("header", "x-key"), "header/x-key"),
        (("cookie", "session"), "cookie/session"),
        (("custom", "x"), "/custom/x"),
        ((), ""),
        (("body", "\ud800"), "/?"),
    ],
)
def test_a_location_is_a_pointer(location: tuple[object, ...], pointer: str) -> None:
    """Locations become RFC 6901 pointers into the body, or the part of the request and the name."""
    assert pointer_of(location) == pointer


def test_only_messages_from_the_schema_are_kept() -> None:
    """Messages of user code, of unknown types and those that hold a part of the value are replaced."""
    errors = [
        {"type": "string_too_short", "loc": ("body", "a"), "msg": "String should have at least 3 characters"},
        {"type": "value_error", "loc": ("body", "b"), "msg": "Value error, SECRET"},
        {"type": "my_own", "loc": ("body", "c"), "msg": "SECRET"},
        {"type": "union_tag_invalid", "loc": ("body", "d"), "msg": "Input tag 'SECRET' found"},
        {"type": "uuid_parsing", "loc": ("body", "e"), "msg": "found `S` at 1"},
    ]
    made = field_errors(errors)
    assert made[0].message == "String should have at least 3 characters"
    assert "SECRET" not in repr(made)
    assert "`S`" not in repr(made)


def test_the_list_of_refused_fields_is_bounded() -> None:
    """A body of ten thousand wrong entries is not answered with ten thousand messages."""
    errors = [{"type": "missing", "loc": ("body", number), "msg": "Required"} for number in range(10_000)]
    assert len(field_errors(errors)) == 100
