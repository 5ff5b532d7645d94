"""Judging a request's head beyond what the parser does: Host, target, repeated fields, transfer codings."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...errors import APIError, BadRequestError, Limit, RequestHeaderFieldsTooLargeError, refused_by
from ...layer.request_fields import join_fields
from ...layer.request_validation import NotImplementedMethodError
from ...types import Headers
from .limits import Limits

__all__ = (
    "NotImplementedMethodError",
    "VersionNotSupportedError",
    "check_coding",
    "check_host",
    "check_protocol",
    "check_size",
    "check_trailers",
    "header_refusal",
    "joined",
    "listed",
    "other_target",
)


class VersionNotSupportedError(APIError):
    """Raised when the request is of another major version than HTTP/1 (RFC 9110 §15.6.6)."""

    status = 505
    code = "HTTP_VERSION_NOT_SUPPORTED"
    default_message = "This server speaks HTTP/1.1 and HTTP/1.0"


# RFC 3986 §3.2.2 and §3.2.3, as wide as the grammar is: which names are served is not the protocol's matter.
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.%A-Za-z_~-]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*+)(?::[0-9]*)?"
)
# RFC 3986 §3.2.2: names are DNS names of at most 255 bytes; more than an address or a name and a port have.
_LONGEST_HOST = 300
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
# Hosts seen to be well formed; the same few come again and again.
_REMEMBERED = 512
_good: set[bytes] = set()
_MEMBERS = 32

_FORBIDDEN_TRAILERS = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"trailer", b"te", b"connection", b"upgrade")
)
"""Fields for framing and routing (RFC 9110 §6.5.1). Other trailers are read and dropped, as §6.5.2 allows."""


def check_host(host: bytes) -> None:
    """Refuse a ``Host`` that is not ``uri-host [":" port]`` (RFC 9112 §3.2).

    Raises:
        BadRequestError: it is not.
    """
    if host in _good:
        return
    if len(host) > _LONGEST_HOST or _HOST.fullmatch(host) is None:
        raise BadRequestError("The Host field is malformed")
    if len(_good) >= _REMEMBERED:
        _good.clear()
    _good.add(host)


def joined(headers: Headers) -> dict[bytes, bytes]:
    """Return the fields by name, the lines of each made one.

    Raises:
        BadRequestError: lines of one field must not stand together, by ``layer/request_fields.py``.
    """
    fields, refused = join_fields(headers)
    if refused is not None:
        raise refused
    return fields


def check_protocol(received: bytes | bytearray, target: bytes) -> None:
    """Refuse a request line of a protocol that llhttp takes beside HTTP: ``RTSP/1.0``, ``ICE/1.0``.

    The parser does not say which one it read, so the request line is looked for by its target.

    Parameters:
        received: bytes as they came, the request line among them.
        target: the request target as it came.

    Raises:
        BadRequestError: the protocol is another one (RFC 9112 §2.3).
    """
    if target + b" RTSP/" in received or target + b" ICE/" in received:
        raise BadRequestError("The request line is not one of HTTP")


def check_trailers(trailers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse trailer fields that would change the meaning of the head (RFC 9110 §6.5.1).

    Raises:
        BadRequestError: there is one.
    """
    if any(name in _FORBIDDEN_TRAILERS for name, _ in trailers):
        raise BadRequestError("A trailer field is not allowed there")


def other_target(method: str, target: bytes, headers: Headers) -> bytes:
    """Return path and query of a request target that does not begin with a slash (RFC 9112 §3.2).

    Absolute form: its authority takes the place of ``Host`` in ``headers`` (§3.2.2). Asterisk form: the path
    is ``*``, for OPTIONS only (§3.2.4).

    Raises:
        BadRequestError: it has another form.
    """
    if target == b"*" and method == "OPTIONS":
        return target
    match = _ABSOLUTE.fullmatch(target.partition(b"#")[0])
    if match is None:
        raise BadRequestError("The request target is malformed")
    authority, rest = match[1], match[2]
    if not authority or b"@" in authority:
        raise BadRequestError("The request target is malformed")
    check_host(authority)
    headers[:] = [(name, authority if name == b"host" else value) for name, value in headers]
    return rest if rest.startswith(b"/") else b"/" + rest


def listed(value: bytes) -> list[bytes]:
    """Return the members of a list in lower case (RFC 9110 §5.6.1); nothing when there are more than 32.

    Clients send one or two.
    """
    if value.count(b",") >= _MEMBERS:
        return []
    return [member.strip(b" \t") for member in value.lower().split(b",")]


def check_size(headers: Headers, limits: Limits) -> None:
    """Refuse more or larger fields than are allowed.

    Raises:
        RequestHeaderFieldsTooLargeError: there are.
    """
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    if size > limits.header_limit or len(headers) > limits.header_count:
        raise header_refusal(limits, len(headers))


def header_refusal(limits: Limits, count: int) -> RequestHeaderFieldsTooLargeError:
    """Return the refusal of a header section of ``count`` fields that is above one of its limits."""
    limit = Limit("HEADER_LIMIT", limits.header_limit, "bytes")
    if count > limits.header_count:
        limit = Limit("HEADER_COUNT", limits.header_count, "fields")
    return refused_by(RequestHeaderFieldsTooLargeError(), limit)


def check_coding(coding: bytes, version: str) -> None:
    """Refuse a ``Transfer-Encoding`` other than ``chunked``.

    Raises:
        BadRequestError: it does not end with ``chunked`` (RFC 9112 §6.3).
        NotImplementedMethodError: there are further codings (RFC 9112 §6.1).
    """
    # RFC 9112 §6.1: HTTP/1.0 has no transfer codings, and a message that has them has faulty framing.
    if version == "1.0":
        raise BadRequestError("HTTP/1.0 has no Transfer-Encoding")
    words = listed(coding) or [b""]
    if words[-1] != b"chunked" or words.count(b"chunked") > 1:
        raise BadRequestError("The Transfer-Encoding does not end with chunked")
    if len(words) > 1:
        raise NotImplementedMethodError("Of the transfer codings only chunked is implemented")
