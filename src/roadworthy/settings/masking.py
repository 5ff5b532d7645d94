"""Settings as they may be shown: secrets masked, passwords inside URLs masked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr

from .rules import WrittenRule
from .values import Rate

if TYPE_CHECKING:
    from .model import Settings

__all__ = ("mask_url", "masked_settings")

_MASK = "***"


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(.*)", re.DOTALL)
_SHOWN_URLS = frozenset({"database_url", "database_replica_urls", "redis_url"})
"""Secrets of which all but the credentials helps an operator. A webhook's path can be the secret itself."""


def mask_url(url: str) -> str:
    """Mask credentials and query values of a URL; a text that is not a URL is masked whole.

    Credentials are everything up to the last ``@``, because a password that was not percent-encoded may
    contain any of the characters that a parser would end it at.
    """
    match = _URL.fullmatch(url)
    if match is None:
        return _MASK
    scheme, rest = match.groups()
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = f"{user}:{_MASK}@" if colon else f"{_MASK}@" if at else ""
    path, question, query = place.partition("?")
    names = "&".join(f"{part.partition('=')[0]}={_MASK}" for part in query.split("&")) if question else ""
    return f"{scheme}{shown}{path}{question}{names}"


def masked_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON values that may be shown to an operator.

    ``SecretStr`` is masked whole, except that database and Redis URLs keep scheme, user, host and path. A
    plain text that is a URL with credentials has them masked.
    """
    return {name: _masked(name, getattr(settings, name)) for name in type(settings).model_fields}


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return mask_url(value.get_secret_value()) if name in _SHOWN_URLS else _MASK
    if isinstance(value, SecretBytes):
        return _MASK
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, WrittenRule):
        return {"route": value.route, **value.values, "source": value.place()}
    if isinstance(value, BaseModel):
        return {key: _masked(key, getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _masked(str(key), value[key]) for key in cast("Iterable[str]", value)}
    # A rate is a tuple, but is written as one text.
    if isinstance(value, (list, tuple, set, frozenset)) and not isinstance(value, Rate):
        return [_masked(name, item) for item in cast("list[Any]", value)]
    text = str(cast("object", value))
    return mask_url(text) if "://" in text and "@" in text else text
