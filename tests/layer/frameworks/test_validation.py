"""A 422 says what was wrong, and never with what: for every type of error that pydantic has."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from annotated_types import Ge, Gt, Le, MultipleOf
from fastapi import FastAPI
from pydantic import (
    AfterValidator,
    AnyUrl,
    Base64Bytes,
    BaseModel,
    ByteSize,
    Field,
    Json,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError, PydanticKnownError
from pydantic_core._pydantic_core import list_all_errors

from roadworthy import roadworthy
from roadworthy.layer.frameworks._validation import field_errors
from tests.asgi_driver import ask

CANARY = "canary-7f3a"

OF_THE_SCHEMA = {
    *("dataclass_exact_type", "dataclass_type", "model_type", "named_tuple_type"),
    *("is_instance_of", "is_subclass_of", "needs_python_object"),
    *("enum", "literal_error", "string_pattern_mismatch", "too_long", "too_short"),
    *("union_tag_invalid", "union_tag_not_found", "url_scheme"),
    # Fixed sentences of the parser (speedate).
    *("date_from_datetime_parsing", "date_parsing", "datetime_from_date_parsing", "datetime_parsing"),
    *("time_delta_parsing", "time_parsing"),
}
"""Types whose messages have texts in them, all of which the schema or the parser wrote."""


@pytest.mark.parametrize("error", list_all_errors(), ids=lambda error: error["type"])
def test_every_type_has_a_message(error: dict[str, Any]) -> None:
    """None is empty; a text in it is known to be the schema's, which a new type would have to be as well."""
    context = {
        name: CANARY if isinstance(value, str) or value is None else value
        for name, value in (error.get("example_context") or {}).items()
    }
    if error["type"] in ("value_error", "assertion_error"):
        context["error"] = ValueError(CANARY)
    if error["type"] == "too_long":
        context["actual_length"] = 7
    known = PydanticKnownError(error["type"], context or None)
    (made,) = field_errors(
        [{"type": known.type, "msg": known.message(), "loc": ("a",), "ctx": known.context}]
    )
    assert made.message
    assert made.code == error["type"]
    if error["type"] not in OF_THE_SCHEMA:
        assert CANARY not in made.message


def _author_repeats(value: str) -> str:
    raise ValueError(f"{value} is not good")


def _author_writes(value: str) -> str:
    raise ValueError("must be one of ours")


def _author_asserts(value: str) -> str:
    # As `assert value == "ours", "must be ours"`, which pytest would rewrite here.
    raise AssertionError("must be ours")


def _author_raises_the_value(value: str) -> str:
    raise ValueError(value)


def _author_says_nothing(value: str) -> str:
    raise ValueError


def _as_email_validator(value: str) -> str:
    reason = f"The part after the @-sign contains invalid characters: {value}."
    raise PydanticCustomError(
        "value_error", "value is not a valid email address: {reason}", {"reason": reason}
    )


def _own_type(value: str) -> str:
    raise PydanticCustomError("own", "{given} is not good", {"given": value})


class _Colour(Enum):
    RED = "red"


class _Cat(BaseModel):
    kind: Literal["cat"]


class _Dog(BaseModel):
    kind: Literal["dog"]


def _checked(check: Callable[[str], str]) -> Any:
    return Annotated[str, AfterValidator(check)]


COMMON: dict[str, tuple[Any, Any, str]] = {
    "e-mail": (_checked(_as_email_validator), CANARY, "Input should be an e-mail address"),
    "short": (
        Annotated[str, StringConstraints(min_length=80)],
        CANARY,
        "String should have at least 80 characters",
    ),
    "long": (
        Annotated[str, StringConstraints(max_length=2)],
        CANARY,
        "String should have at most 2 characters",
    ),
    "pattern": (
        Annotated[str, StringConstraints(pattern="^a$")],
        CANARY,
        "String should match pattern '^a$'",
    ),
    "least": (Annotated[int, Ge(1)], -73, "Input should be greater than or equal to 1"),
    "above": (Annotated[int, Gt(1)], -73, "Input should be greater than 1"),
    "most": (Annotated[int, Le(1)], 73, "Input should be less than or equal to 1"),
    "multiple": (Annotated[int, MultipleOf(5)], 73, "Input should be a multiple of 5"),
    "uuid": (UUID, CANARY, "Input should be a valid UUID"),
    "integer": (int, CANARY, "Input should be a valid integer, unable to parse string as an integer"),
    "boolean": (bool, CANARY, "Input should be a valid boolean, unable to interpret input"),
    "decimal": (Decimal, CANARY, "Input should be a valid decimal"),
    "text": (str, 73, "Input should be a valid string"),
    "date": (date, CANARY, "Input should be a valid date or datetime, invalid character in year"),
    "datetime": (datetime, CANARY, "Input should be a valid datetime or date, invalid character in year"),
    "time": (time, CANARY, "Input should be in a valid time format, invalid character in hour"),
    "duration": (timedelta, CANARY, "Input should be a valid timedelta, invalid character in hour"),
    "literal": (Literal["a", "b"], CANARY, "Input should be 'a' or 'b'"),
    "enum": (_Colour, CANARY, "Input should be 'red'"),
    "tag": (
        Annotated[_Cat | _Dog, Field(discriminator="kind")],
        {"kind": CANARY},
        "The tag should be one of 'cat', 'dog'",
    ),
    "url": (AnyUrl, CANARY, "Input should be a valid URL"),
    "address": (IPv4Address, CANARY, "Input should be an IPv4 address"),
    "json": (Json[int], CANARY, "Invalid JSON"),
    "size": (ByteSize, f"7{CANARY[:6]}", "Input should be a size with a known unit, such as 10MiB"),
    "base64": (Base64Bytes, f"{CANARY}!", "Input should be base64"),
    "list": (list[int], CANARY, "Input should be a valid list"),
    "written": (_checked(_author_writes), CANARY, "must be one of ours"),
    "asserted": (_checked(_author_asserts), CANARY, "must be ours"),
    "repeated": (_checked(_author_repeats), CANARY, "Invalid value"),
    "the value": (_checked(_author_raises_the_value), CANARY, "Invalid value"),
    "nothing": (_checked(_author_says_nothing), CANARY, "Invalid value"),
    "own type": (_checked(_own_type), CANARY, "Invalid value"),
}
"""A type, a value that it refuses, and what the client reads."""


@pytest.mark.parametrize("case", COMMON)
def test_common_cases_say_what_was_wrong(case: str) -> None:
    """The message names what would be right, and has nothing of the value."""
    kind, value, message = COMMON[case]
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)
    (made,) = field_errors(refused.value.errors())
    assert (made.message, CANARY in repr(made), "73" in made.message) == (message, False, False)


@pytest.mark.anyio
@pytest.mark.parametrize("error_format", ["problem", "envelope", "app"])
async def test_no_value_is_in_a_response(error_format: str) -> None:
    """In each format, of a whole form of wrong values: every field has its message, none its value."""
    api = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    for number, (kind, _, _) in enumerate(COMMON.values()):

        def take(value: Any) -> None: ...

        take.__annotations__["value"] = Annotated[kind, Field()]
        model = type("Form", (BaseModel,), {"__annotations__": {"value": kind}})

        def read(form: Any) -> None: ...

        read.__annotations__["form"] = model
        api.post(f"/{number}")(read)
    app = roadworthy(api, rate_limit="off", error_format=error_format, env="production")
    for number, (_, value, message) in enumerate(COMMON.values()):
        body = json.dumps({"value": value}).encode()
        fields = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        answered = await ask(app, "POST", f"/{number}", fields, body)
        text = answered.body.decode()
        assert answered.status == 422, (message, text)
        assert json.dumps(message)[1:-1] in text
        assert CANARY not in text
        assert "73" not in json.dumps(answered.json().get("errors", answered.json().get("detail")))
