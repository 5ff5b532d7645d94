"""gunicorn's corpus of raw requests: what it calls invalid is refused here, what it calls valid is accepted.

The corpus is in gunicorn's source distribution, and is fetched by pip for this test; nothing of it is kept.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from roadworthy.types import Receive, Scope, Send
from tests.request_body import request_body
from tests.server.wire import Response, Served, parse, serving

pytestmark = pytest.mark.proof

OF_GUNICORN = {
    "invalid/006": "limit_request_line: 4,094 bytes there, url_limit (8 KiB) here",
    "invalid/007": "limit_request_field_size: 8,190 bytes there, header_limit (32 KiB for all) here",
    "invalid/008": "limit_request_field_size",
    "invalid/009": "limit_request_fields: 100 of them; this one has the most fields that are accepted",
    "invalid/010": "limit_request_field_size set to 10",
    "invalid/011": "limit_request_fields set to 2",
    "invalid/012": "limit_request_field_size set to 98",
    "invalid/017": "limit_request_field_size",
    "invalid/limit_header_default_01": "limit_request_field_size",
    "invalid/019": "forwarded_allow_ips: forwarding fields are the layer's matter (trusted_proxies)",
    "invalid/040": "header_map=refuse: an ASGI app sees names as they came, so an underscore maps to nothing",
    "invalid/chunked_07": "header_map=refuse",
    "valid/028": "strip_header_spaces",
    "valid/031compat": "permit_unconventional_http_method, casefold_http_method",
    "valid/031compat2": "permit_unconventional_http_method",
    "valid/compat_obs_fold": "permit_obsolete_folding",
    "valid/compat_obs_fold_huge": "permit_obsolete_folding",
    "valid/pp_01": "proxy_protocol",
    "valid/pp_02": "proxy_protocol",
    "valid/pp_04": "proxy_protocol",
    "valid/pp_05": "proxy_protocol",
}
"""Valid or invalid only by limits and flags of gunicorn's own."""

_CODING = (
    'RFC 9112 section 6.1: "A server that receives a request message with a transfer coding it does not '
    'understand SHOULD respond with 501 (Not Implemented)."'
)
_METHOD = (
    'RFC 9110 section 9.1: "An origin server that receives a request method that is unrecognized or not '
    'implemented SHOULD respond with the 501 (Not Implemented) status code."'
)
DIFFERENT = {
    "valid/013": 'RFC 9112 section 7.1.1 has "BWS" around the semicolon of a chunk extension, which RFC 9110 '
    'section 5.6.3 allows "only for historical reasons"; llhttp refuses it.',
    "valid/025": _CODING,
    "valid/025_line": _CODING,
    "valid/029": _CODING,
    "valid/030": _CODING,
    "valid/rfc9112_smuggle_gzip_chunked_01": _CODING,
    "valid/rfc9112_smuggle_te_identity_chunked_01": _CODING,
    "valid/031": _METHOD + " llhttp tells no unknown method from a malformed one, so it is 400.",
    "valid/099": 'RFC 9112 section 6.3: "If the sender closes the connection or the recipient times out '
    "before the indicated number of octets are received, the recipient MUST consider the message to be "
    'incomplete and close the connection." (Its body is shorter than its Content-Length.)',
    "valid/rfc9112_target_absolute_userinfo_01": 'RFC 9110 section 4.2.4: "a recipient SHOULD parse for '
    'userinfo and treat its presence as an error; it is likely being used to obscure the authority".',
    "valid/rfc9112_target_authority_connect_01": _METHOD,
    "valid/rfc9112_target_authority_ipv6_01": _METHOD,
}
"""Requests that are answered otherwise here, each with the sentence of the RFC that allows or asks for it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file of the corpus."""

    name: str
    data: bytes


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """All raw requests, as gunicorn's own tests read them."""
    return download(tmp_path_factory.mktemp("gunicorn"))


def download(folder: Path) -> list[Case]:
    """Fetch the corpus by way of ``folder``."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "gunicorn"]
    subprocess.run([*command, "-d", str(folder), "gunicorn==27.*"], check=True, timeout=300)
    [archive] = folder.glob("gunicorn-*.tar.gz")
    cases: list[Case] = []
    with tarfile.open(archive) as files:
        for member in files.getmembers():
            found = re.search(r"/tests/requests/((?:in)?valid/[^/]+)\.http$", member.name)
            opened = files.extractfile(member) if found else None
            if found and opened is not None:
                cases.append(Case(found[1], _raw(opened.read())))
    return sorted(cases, key=lambda case: case.name)


def _raw(text: bytes) -> bytes:
    """Undo the notation: line ends of the file mean nothing; escapes mean CRLF, LF, NUL, tab and bytes."""
    data = text.replace(b"\n", b"").replace(b"\\r\\n", b"\r\n").replace(b"\\n", b"\n")
    data = data.replace(b"\\0", b"\0").replace(b"\\t", b"\t")
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), data)


def with_hosts(data: bytes) -> bytes:
    """Add a Host to every HTTP/1.1 request without one, so that its absence is not why one is refused.

    RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request
    message that lacks a Host header field"; gunicorn asks for none.
    """

    def added(found: re.Match[bytes]) -> bytes:
        head = found[0]
        return (
            head if re.search(rb"(?im)^host[ \t]*:", head) else head.replace(b"\r\n", b"\r\nHost: a\r\n", 1)
        )

    return re.sub(rb"[A-Z-]+ \S+ HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n", added, data)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body and answer 200; a body that does not end is no request."""
    if await request_body(receive) is None:
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The app on our protocol."""
    with serving(_app) as one:
        yield one


def _answers(served: Served, data: bytes, *, one_by_one: bool = False) -> list[Response]:
    with served.connect() as client:
        client.socket.settimeout(2)
        (client.send_one_by_one if one_by_one else client.send)(data)
        client.finish()
        return parse(client.rest())


def _is_refused(answers: list[Response]) -> bool:
    """The last answer is an error, or there is none because the request never became complete."""
    return not answers or answers[-1].status >= 400


def test_every_invalid_request_is_refused(
    corpus: list[Case], served: Served, record_property: Callable[[str, object], None]
) -> None:
    """Each is refused as it stands and with the Host that it may lack; nothing hangs and nothing is a 500."""
    invalid = [case for case in corpus if case.name.startswith("invalid/")]
    assert len(invalid) > 70
    accepted: list[str] = []
    for case in invalid:
        for data in {case.data, with_hosts(case.data)}:
            answers = _answers(served, data)
            assert all(answer.status != 500 for answer in answers), case.name
            if not _is_refused(answers):
                accepted.append(case.name)
    assert set(accepted) - set(OF_GUNICORN) == set()
    record_property("invalid requests", len(invalid))
    record_property("refused", len(invalid) - len(set(accepted)))


def test_every_valid_request_is_accepted(
    corpus: list[Case], served: Served, record_property: Callable[[str, object], None]
) -> None:
    """Each, with a Host where RFC 9112 demands one, is answered 200 as often as it has requests."""
    valid = [case for case in corpus if case.name.startswith("valid/")]
    assert len(valid) > 55
    refused: dict[str, list[int]] = {}
    for case in valid:
        answers = _answers(served, with_hosts(case.data))
        if not answers or any(answer.status != 200 for answer in answers):
            refused[case.name] = [answer.status for answer in answers]
    known = OF_GUNICORN.keys() | DIFFERENT.keys()
    assert {name: told for name, told in refused.items() if name not in known} == {}
    record_property("valid requests", len(valid))
    record_property("accepted", len(valid) - len(refused))


def test_the_corpus_byte_by_byte(corpus: list[Case], served: Served) -> None:
    """Where the bytes are cut changes neither the number of answers nor any status."""
    for case in corpus:
        data = with_hosts(case.data)
        whole = [answer.status for answer in _answers(served, data)]
        cut = [answer.status for answer in _answers(served, data, one_by_one=True)]
        assert whole == cut, case.name


def test_the_table_of_differences_is_current(corpus: list[Case]) -> None:
    """A name in a table that the corpus does not have any more is a line to remove."""
    assert OF_GUNICORN.keys() | DIFFERENT.keys() <= {case.name for case in corpus}


def test_every_difference_is_one(corpus: list[Case], served: Served) -> None:
    """A request in the table that is accepted after all is a line to remove."""
    for case in corpus:
        if case.name in DIFFERENT:
            answers = _answers(served, with_hosts(case.data))
            assert _is_refused(answers), case.name
