"""Secrets never reach a record, wherever they stand."""

from __future__ import annotations

import gc
import logging as stdlib_logging
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from roadworthy.layer.logging import Logging
from roadworthy.layer.logs.redaction import Redactor
from roadworthy.layer.logs.writer import LogWriter
from roadworthy.settings import Settings

from .stream import Stream, served

_SECRET_FIELDS = [
    "authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "password", "new_password", "passwd",
    "user_passwd", "secret", "client_secret", "clientSecret", "token", "access_token", "accessToken",
    "csrftoken", "api_key", "apiKey", "X-Api-Key", "session", "session_id", "sessionid", "credit_card",
    "creditCardNumber", "credentials", "jwt", "private_key", "DATABASE_URL", "pin-code", "PinCode",
]  # fmt: skip
_SECRET_TEXTS = [
    "Authorization: Bearer {0}",
    "authorization: Basic {0}==",
    "bearer {0}",
    "Cookie: a=1; sid={0}; b=2",
    "GET /x?a=1&token={0}&b=2",
    "/reset?password={0}",
    "postgres://app:{0}@db:5432/shop",
    "redis://:{0}@cache",
    "https://{0}@host/",
    "amqp://u:p@ss/{0}@host/",
    "password='{0}'",
    'password = "two words {0}"',
    '{{"password": "{0}"}}',
    "{{'user': 'x', 'password': '{0}'}}",
    "[(b'authorization', b'Bearer {0}'), (b'host', b'x')]",
    "User(name='bob', password='{0}', age=3)",
    "api_key={0}",
    "X-Api-Key: {0}",
    '{{\\"secret\\": \\"{0}\\"}}',
    "host=db password={0} dbname=x",
    "[SQL: INSERT INTO users VALUES (?, ?)]\n[parameters: ('bob', '{0}')]",
    "Input should be an int [type=int_parsing, input_value='{0}', input_type=str]",
    "eyJhbGciOiJIUzI1NiJ9.{0}.{0}",
    "pin_code={0}",
    'Authorization: Digest username="bob", response="{0}"',
    "token=Negotiate {0}",
]
# What may stand before a secret's name and looks itself like a name, a scheme or an open assignment.
_BEFORE = (
    "bad token: ", "token=\n", "bearer ", "Basic ", "cookie: ", "Authorization: x ", "token=password=",
    "token: {{", "'token', ", "jwt::", "secret == ",
)  # fmt: skip
_BEHIND_A_NAME = (
    "password: {0}", "password={0}", "password = '{0}'", "'password': b'{0}'", '"password": "{0}"',
    '\\"password\\": \\"{0}\\"', "(b'password', b'{0}')", "token=Bearer {0}",
)  # fmt: skip
_CANARY = "c4n4ryZq81LmX02v"


@pytest.mark.parametrize("name", _SECRET_FIELDS)
def test_fields_with_secret_names_are_masked(make: Callable[..., Stream], name: str) -> None:
    """A value under a secret name is masked at any depth, in extra fields, event fields and header lists."""
    stream = make(log_redact=("pin_code",))
    stream.item.configure()
    values: list[Any] = [_CANARY, {"deep": [_CANARY]}, [_CANARY], _CANARY.encode(), 4242424242424242]
    logger, structured = stdlib_logging.getLogger("shop"), structlog.get_logger("shop")
    for value in values:
        logger.info("x", extra={name: value, "nested": {"list": [{name: value}]}})
        structured.info("x", **{name: value}, nested=[{"a": {name: value}}], headers=[(name.encode(), value)])
    data = stream.take()
    assert data.count(b"\n") == len(values) * 2
    assert _CANARY.encode() not in data
    assert b"4242" not in data


@pytest.mark.parametrize("text", _SECRET_TEXTS)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_inside_texts_are_masked(make: Callable[..., Stream], text: str, log_format: str) -> None:
    """Credentials in messages, arguments, fields and exceptions' messages, causes and notes are masked."""
    stream = make(log_redact=("pin_code",), log_format=log_format)
    stream.item.configure()
    text = text.format(_CANARY)
    logger = stdlib_logging.getLogger("shop")
    logger.info(text.replace("%", "%%"))
    logger.info("said: %s", text)
    logger.info("x", extra={"said": text, "list": [text], "object": ValueError(text)})
    structlog.get_logger("shop").info("x", said=text)
    exception = ValueError(text)
    exception.add_note(text)
    try:
        raise RuntimeError(text) from exception
    except RuntimeError as caught:
        logger.error("failed", exc_info=caught)
        stream.item.finish(served(status=500, exception=caught))
        stream.item.failed_late(served(), ExceptionGroup("both", [caught]))
    data = stream.take()
    assert data.count(b"failed") >= 1
    assert _CANARY.encode() not in data
    assert _CANARY[:12].encode() not in data


@pytest.mark.parametrize("before", _BEFORE)
@pytest.mark.parametrize("form", _BEHIND_A_NAME)
def test_a_name_behind_a_name_keeps_its_secret(before: str, form: str) -> None:
    """Nothing before a name makes it part of a value, so that its own value would stand without a name."""
    assert _CANARY not in Redactor().text((before + form).format(_CANARY))


@pytest.mark.parametrize(
    "text",
    [
        "http://host:8080/path is up",
        "mail a@b.example",
        "basic understanding of things",
        "passwords must be long",
        "retry in 3 s: total=12",
    ],
)
def test_harmless_texts_stay(routed: Stream, text: str) -> None:
    """Masking leaves ordinary messages as they are."""
    stdlib_logging.getLogger("shop").info(text)
    assert routed.one()["message"] == text


@pytest.mark.parametrize("kind", ["token={0}x, ", "https://u{0}:p@host/ ", "cookie: {0}\n"])
def test_behind_64_secrets_nothing_is_shown(routed: Stream, kind: str) -> None:
    """A text full of secrets is masked to its end, and costs no more than others."""
    stdlib_logging.getLogger("shop").info("İ %s", kind.format(_CANARY) * 100 + "end")
    text = routed.one()["message"]
    assert text.startswith("İ ")
    assert text.count("[redacted]") >= 64
    assert _CANARY not in text
    assert "end" not in text


def test_flags_and_absence_are_shown(routed: Stream) -> None:
    """That a secret is set, or not, is no secret."""
    structlog.get_logger("shop").info("x", password=None, has_token=True, max_tokens=12)
    record = routed.one()
    assert (record["password"], record["has_token"], record["max_tokens"]) == (None, True, 12)


def test_a_name_to_redact_has_letters() -> None:
    """A name that would cover every field is refused with the setting's name."""
    with pytest.raises(ValueError, match="ROADWORTHY_LOG_REDACT"):
        Logging(Settings(_env_file=None, log_redact=("--",)), writer=LogWriter(1))


def test_names_that_clients_make_up_are_not_kept() -> None:
    """A service that records a client's JSON does not keep its keys, however many and long they are."""
    redactor = Redactor()
    tracemalloc.start()
    try:
        for number in range(300):
            redactor.value({f"{number}-{'a' * 50_000}-{other}": 1 for other in range(4)})
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20
