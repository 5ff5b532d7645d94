"""Response fields that more than one item writes."""

from __future__ import annotations

from .exchange import Exchange

__all__ = ("add_vary",)


def add_vary(exchange: Exchange, field: bytes) -> None:
    """Say that the response was selected by the request field ``field``, in one ``Vary`` line.

    What the app put into ``Vary`` stays, several lines become one, and a field that is named already (in any
    case) or covered by ``*`` is not named again (RFC 9110 §12.5.5).
    """
    names = exchange.response_names
    headers = exchange.response_headers
    if b"vary" not in names:
        exchange.add(((b"vary", field),))
        names[b"vary"] = field
        return
    values = [value for name, value in headers if name.lower() == b"vary"]
    named = {word.strip() for value in values for word in value.lower().split(b",")}
    if b"*" in named or field.lower() in named:
        return
    merged = b", ".join([value for value in values if value.strip()] + [field])
    headers[:] = [header for header in headers if header[0].lower() != b"vary"]
    exchange.add(((b"vary", merged),))
    names[b"vary"] = merged
