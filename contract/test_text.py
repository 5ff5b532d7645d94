"""Text survives unchanged, or is refused; it is never repaired and never a 500."""

import json

import pytest

from .api import CANARY, Api

pytestmark = [pytest.mark.row("POST /api/users"), pytest.mark.row("POST /api/users/{id}/posts")]

SURVIVES = {
    "emoji": "\U0001f600",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "right to left": "שלום \u202e עולם",
    "spaces at both ends": "  Ada  ",
    "only a space": " ",
    "tab and line ends": "a\tb\r\nc\n",
    "quotes": "\"'\\/`",
    "markup": "<script>alert(1)</script>&amp;",
    "sql": "'; DROP TABLE users; --",
    "template": "${7*7} {{7*7}} %s %00",
    "line separator": "a\u2028b\u2029c",
    "byte order mark": "\ufeffAda",
    "control": "\x01\x1f\x7f\x85",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "replacement character": "\ufffd",
}


@pytest.mark.parametrize("ascii_only", [False, True], ids=["as utf-8", "escaped"])
@pytest.mark.parametrize("text", SURVIVES.values(), ids=SURVIVES.keys())
def test_round_trip(api: Api, text: str, ascii_only: bool) -> None:
    """What was sent is what comes back, and what is read later."""
    body = json.dumps({"name": text, "email": api.unique_email()}, ensure_ascii=ascii_only).encode()
    user = api.accepted(api.send("POST", "/api/users", content=body), 201, "User")
    assert user["name"] == text
    assert api.send("GET", f"/api/users/{user['id']}").json()["name"] == text
    body = json.dumps({"title": text, "body": text}, ensure_ascii=ascii_only).encode()
    post = api.accepted(api.send("POST", f"/api/users/{user['id']}/posts", content=body), 201, "Post")
    assert (post["title"], post["body"]) == (text, text)
    assert api.send("GET", f"/api/users/{user['id']}/posts/{post['id']}").json() == post


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800", r"\udfff", r"\ude00\ud83d", r"\ud83d\ud83d\ude00"])
@pytest.mark.parametrize("field", ["name", "email"])
def test_refused_in_a_user(api: Api, field: str, text: str) -> None:
    """U+0000 and lone surrogates (RFC 8259 §8.2) are 422, in every field."""
    values = {"name": "Ada", "email": api.unique_email()}
    values[field] = f"{CANARY}HERE@example.com"
    body = json.dumps(values).replace("HERE", text).encode()
    _refused_text(api, "/api/users", body, field)


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800", r"\udfff", r"\ude00\ud83d"])
@pytest.mark.parametrize("field", ["title", "body"])
def test_refused_in_a_post(api: Api, field: str, text: str) -> None:
    """U+0000 and lone surrogates are 422, in every field of a post too."""
    body = json.dumps({"title": "Title", "body": "Body", field: f"{CANARY}HERE"}).replace("HERE", text)
    path = f"/api/users/{api.user()['id']}/posts"
    _refused_text(api, path, body.encode(), field)


def _refused_text(api: Api, path: str, body: bytes, field: str) -> None:
    entries = api.refused(api.send("POST", path, content=body), 422, "VALIDATION_ERROR", "Validation failed")
    # What reads the JSON may notice before anybody knows of fields; then the entry is about the whole body.
    assert [entry["pointer"] for entry in entries] in ([f"/{field}"], [""])


@pytest.mark.parametrize("name", [r"\u0000", r"\ud800"])
def test_refused_as_a_field_name(api: Api, name: str) -> None:
    """The same characters in the name of a field are a refusal, not a failure."""
    body = f'{{"name": "Ada", "email": "{api.unique_email()}", "{name}": 1}}'.encode()
    assert len(api.refused(api.send("POST", "/api/users", content=body), 422, "VALIDATION_ERROR")) == 1


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\0"])
def test_bytes_that_are_no_text(api: Api, text: bytes) -> None:
    """A body that is not UTF-8 (RFC 8259 §8.1), or has a raw control character, is not JSON: 400."""
    body = b'{"name": "%b", "email": "%b"}' % (text, api.unique_email().encode())
    api.refused(api.send("POST", "/api/users", content=body), 400, "BAD_REQUEST")
