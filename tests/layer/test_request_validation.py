"""Request validation: sizes and JSON that no handler should have to defend itself against."""

import gc

import pytest

from roadworthy import BadRequestError, RouteRule, Settings, ValidationError
from roadworthy.layer.request_validation import RequestValidation
from tests.layer.conftest import make_exchange

SETTINGS = Settings(body_limit=1000, url_limit=100, header_limit=500, header_count=10)
ITEM = RequestValidation(SETTINGS)


def _status(method: str = "POST", path: str = "/", headers: list[tuple[bytes, bytes]] | None = None) -> int:
    refused = ITEM.admit(make_exchange(method, path, headers or []))
    return refused.status if refused is not None else 0


def test_a_usual_request_passes() -> None:
    """A request within all limits is not refused."""
    assert _status(headers=[(b"host", b"x"), (b"content-length", b"1000")]) == 0


def test_a_declared_length_above_the_limit_is_413() -> None:
    """A body that is declared too large is refused before a byte of it is read."""
    assert _status(headers=[(b"content-length", b"1001")]) == 413


@pytest.mark.parametrize("length", [b"-1", b"+5", b"0x10", b"1_0", b"", b"9" * 30])
def test_a_length_that_is_no_number_is_400(length: bytes) -> None:
    """Content-Length is digits only (RFC 9110 §8.6)."""
    assert _status(headers=[(b"content-length", length)]) == 400


def test_a_long_target_is_414() -> None:
    """A request target above the limit is refused."""
    assert _status("GET", "/" + "a" * 100) == 414


def test_large_fields_are_431() -> None:
    """Many bytes of fields, and many fields, are refused (RFC 6585 §5)."""
    assert _status("GET", headers=[(b"x", b"y" * 500)]) == 431
    assert _status("GET", headers=[(b"x%d" % n, b"y") for n in range(11)]) == 431


def test_a_rule_gives_a_route_its_own_body_limit() -> None:
    """The rule of a route overrides the service's body limit, in both directions."""
    exchange = make_exchange("POST", "/", [(b"content-length", b"5000")], rule=RouteRule(body_limit="10kB"))
    assert ITEM.admit(exchange) is None
    assert exchange.body_limit == 10_000


def test_a_body_without_a_declared_length_is_counted() -> None:
    """Chunks are counted, and the one that passes the limit is refused."""
    exchange = make_exchange("POST", "/", [(b"transfer-encoding", b"chunked")])
    assert ITEM.admit(exchange) is None
    assert ITEM.count(exchange, 999) is None
    refused = ITEM.count(exchange, 2)
    assert refused is not None
    assert refused.status == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a": 1, "b": [true, null, "x"]}', 0),
        ('{"a": "naïve 🚗"}'.encode(), 0),
        (b"", 0),
        (b"null", 0),
        (b'{"a": NaN}', 400),
        (b'{"a": Infinity}', 400),
        (b'{"a": -Infinity}', 400),
        (b'{"a": 1e999}', 400),
        (b'{"a": -1e999}', 400),
        (b'{"a": 1e308}', 0),
        (b'{"a": ' + b"1" * 320 + b".0}", 400),
        (b'{"a": ' + b"9" * 210 + b"e99}", 400),
        (b'{"a": ' + b"1" * 209 + b"e99}", 0),
        (b'{"a": 1E+400}', 400),
        (b'{"a": ["e999", "1E+400", "' + b"1" * 400 + b'.0", 0e999, 1e-999]}', 0),
        (b'["\\\\u0000", 1e-400, "e+999"]', 0),
        (b'{"a": ' + b"1" * 100 + b"}", 0),
        (b'{"a": ' + b"1" * 5000 + b"}", 400),
        (b'{"a": "\\ud800"}', 422),
        (b'{"a": "\\udc00 x"}', 422),
        (b'{"a": "\\ud83d\\ude97"}', 0),
        (b'{"a": "\\u0000"}', 422),
        (b'{"\\u0000": 1}', 422),
        (b'{"a": "\\\\u0000"}', 0),
        (b"[" * 100 + b"]" * 100, 0),
        (b"[" * 5000 + b"]" * 5000, 400),
        (b"[" * 100_000, 400),
        (b'{"a": 1,}', 400),
        (b'{"a": "\xff"}', 400),
        (b"{}x", 400),
        (b"\xef\xbb\xbf{}", 400),
    ],
)
def test_a_json_body_is_judged_as_a_whole(body: bytes, status: int) -> None:
    """What would end as a 500 in a handler, a database or a response is refused before (fastapi#459)."""
    refused = ITEM.judge(make_exchange("POST"), body)
    assert (refused.status if refused else 0) == status


def test_the_refusal_of_a_text_names_a_code_and_no_value() -> None:
    """A 422 of the layer's own has a field error with a pointer, like those of the handlers."""
    refused = ITEM.judge(make_exchange("POST"), b'{"secret": "hunter2\\u0000"}')
    assert isinstance(refused, ValidationError)
    assert refused.errors[0].code == "string_nul"
    assert refused.errors[0].pointer == "/secret"
    assert "hunter2" not in str(refused) + refused.errors[0].message


def test_the_pointer_reaches_into_the_document() -> None:
    """RFC 6901: slashes and tildes in names are escaped, elements are counted."""
    refused = ITEM.judge(make_exchange("POST"), b'{"a": [1, {"b/c~d": "\\ud800"}]}')
    assert isinstance(refused, ValidationError)
    assert refused.errors[0].pointer == "/a/1/b~1c~0d"


@pytest.mark.parametrize("number", [b"1e999", b"-1E+400", b"9" * 309 + b".5", b"9" * 210 + b"e99"])
@pytest.mark.parametrize(
    "around", [b"%b", b"[[1, %b], 2]", b'{"a": {"b": %b}}', b'["12345678901234567890", %b]']
)
@pytest.mark.parametrize("beside", [b"0", b"9" * 60, b"%d" % ((0x67 << 8 | 0x7FF0 << 60) << 15)])
def test_a_number_beyond_a_double_is_found_wherever_it_stands(
    number: bytes, around: bytes, beside: bytes
) -> None:
    """At any depth and beside any integer, also one whose bytes look like an infinite double."""
    body = b"[%b, %b]" % (beside, around % number)
    refused = ITEM.judge(make_exchange("POST"), body)
    assert isinstance(refused, BadRequestError)
    assert ITEM.judge(make_exchange("POST"), body.replace(number, b"1e300")) is None


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize(
    "wrong", ["\\u0000", "\\ud800", "\\udc00", "\\ud800\\u0041", "\\ud800\\ud800", "\\ud800\\n"]
)
@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('"{}"', ""),
        ('"a \\\\u0000 \\ud83d\\ude97 {} \\u0000"', ""),
        ('[[], 1, ["é", "{}", 2]]', "/2/1"),
        ('{"a": {"b": 1}, "c/d~": [{}, {"": "x{}"}]}'.replace("[{}", "[0"), "/c~1d~0/1/"),
        ('{"a": {"b": 1}, "{}": 2}', ""),
        ('[0, {"a": [1], "b{}": 2}]', "/1"),
        ('[\n\n{"a":\n [\n"{}"\n]}\n]', "/0/a/0"),
        ('{"a": ["x"], "b": 1, "a": "{}"}', ""),
    ],
)
def test_the_pointer_is_that_of_the_first_wrong_text(text: str, pointer: str, wrong: str, size: int) -> None:
    """Half a pair and NUL are found in values and in names, behind any lines, in front of anything."""
    body = "\n" * size + text.replace("{}", wrong)
    refused = ITEM.judge(make_exchange("POST"), body.encode())
    assert isinstance(refused, ValidationError)
    assert [error.pointer for error in refused.errors] == [pointer]
    assert refused.errors[0].code == ("string_nul" if wrong == "\\u0000" else "string_unicode")


def test_garbage_collection_is_as_it_was_after_a_large_body() -> None:
    """A large body is read without collecting garbage; a process that had it off keeps it off."""
    body = b"[" + b"[]," * 10_000 + b"1]"
    assert ITEM.judge(make_exchange("POST"), body) is None
    assert gc.isenabled()
    assert ITEM.judge(make_exchange("POST"), body + b"]") is not None
    assert gc.isenabled()
    gc.disable()
    try:
        assert ITEM.judge(make_exchange("POST"), body) is None
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_compressed_json_body_is_415() -> None:
    """A body in a coding is not expanded: a few bytes could become gigabytes."""
    exchange = make_exchange("POST", "/", [(b"content-encoding", b"gzip")])
    refused = ITEM.judge(exchange, b"\x1f\x8b")
    assert refused is not None
    assert refused.status == 415


@pytest.mark.parametrize(
    ("media_type", "whole"),
    [
        (b"application/json", True),
        (b"Application/JSON; charset=utf-8", True),
        (b"application/merge-patch+json", True),
        (b"text/plain", False),
        (b"application/x-ndjson", False),
        (b"application/jsonp", False),
        (b"multipart/form-data; boundary=x", False),
    ],
)
def test_only_json_is_judged(media_type: bytes, whole: bool) -> None:
    """Other bodies reach the handler as they come."""
    assert ITEM.wants_whole(make_exchange("POST", "/", [(b"content-type", media_type)])) is whole


def test_json_strict_can_be_turned_off() -> None:
    """A service that wants the raw bytes says so."""
    item = RequestValidation(Settings(json_strict=False))
    assert not item.wants_whole(make_exchange("POST", "/", [(b"content-type", b"application/json")]))
