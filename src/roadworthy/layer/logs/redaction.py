"""Keeps secrets out of log records: values under secret names, and secrets inside strings.

The names follow the OWASP Logging Cheat Sheet ("Data to exclude") and CWE-532. Masking prefers one harmless
value too many over one secret too few; flags and None are shown, for they are never the secret itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Set
from typing import Any, TypeAlias, TypeGuard

__all__ = ("JsonValue", "Redactor")

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"

_MASK = "[redacted]"

_ANYWHERE = (
    "authorization", "password", "passwd", "passphrase", "secret", "cookie", "credential", "apikey",
    "accesskey", "privatekey", "signingkey", "encryptionkey", "creditcard", "cardnumber", "sessionid",
    "sessionkey", "databaseurl",
)  # fmt: skip
_WHOLE_WORDS = frozenset(
    {"token", "pwd", "session", "jwt", "otp", "cvv", "cvc", "dsn", "csrf", "xsrf", "bearer"}
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_IN_TEXT = (
    r"authorization|password|passwd|passphrase|pwd|secret|token|cookie|credential|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|signing[_-]?key|credit[_-]?card|card[_-]?number|session(?:[_-]?(?:id|key))?|jwt|otp|cvv|dsn"
)
# Longest text that is looked at. A record holds 4,000 bytes, so the middle of a longer text would be cut
# anyway. Repetitions below are bounded for the same reason: hostile text costs a bounded time.
_TEXT_LIMIT = 8_192
# Names whose verdict is remembered before the memory starts afresh: 512 KiB at most.
_REMEMBERED, _LONGEST_KEPT = 4_096, 128
# Secrets of one kind in a text, and URLs in one with an @: what follows is not shown at all.
_MOST = 64
_HINTS = (
    "auth", "passw", "passphrase", "pwd", "secret", "token", "cookie", "credential", "key", "card", "session",
    "jwt", "otp", "cvv", "dsn",
)  # fmt: skip
# One of these stands between a name and its value.
_MARKS = ("=", ":", "',", '",', "' ", '" ')
_SCHEME_HINTS = ("bearer", "basic", "digest", "negotiate")
_SCHEMES = "|".join(_SCHEME_HINTS)
_SCHEME = re.compile(
    rf"\b((?i:bearer|digest|negotiate))[ \t]+(?:(?i:{_SCHEMES})[ \t]+)?[^\s\"',;]{{2,}}"
    rf"|\b((?i:basic))[ \t]+(?:(?i:{_SCHEMES})[ \t]+)?(?=[a-z+/_-]{{0,64}}[A-Z0-9=])[A-Za-z0-9+/=_-]{{4,}}"
)
# Nothing that was read once is read again in another way: ++ and }+ are possessive. A password that began
# with // would let each of many "://" look at all the others.
_USER_INFO = re.compile(
    r"://[^\s/?#\"'<>@:]{0,256}+(?::(?!//)[^\s\"'<>@]{0,256}+)?@(?:[^\s\"'<>@]{0,256}+@){0,4}"
)
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?")
# What pydantic and SQLAlchemy print of their input inside an exception's message; pydantic cuts it itself.
_ECHO, _ECHO_END, _ECHO_LENGTH = "input_value=", ", input_type=", 200
_PARAMETERS = "[parameters: "


_QUOTED = r"\"(?:[^\"\\]++|\\.)*+(?:\"|$)|'(?:[^'\\]++|\\.)*+(?:'|$)"


def _assignment(names: str) -> re.Pattern[str]:
    """Match ``name=value``, ``name: value``, ``"name": "value"`` and ``(b'name', b'value')`` in lower case.

    A pattern that ignores case costs ten times as much.
    """
    # JSON inside a JSON string, or inside a repr: the quotes are escaped.
    escaped = r"\\{1,4}[\"'][^\"'\\]*+(?:\\{1,4}[\"'])?"
    value = rf"(?:b?(?:{_QUOTED})|{escaped}|(?:(?:{_SCHEMES})\s+){{0,8}}[^\s\"'&,;)\]}}=:]+)"
    return re.compile(
        rf"((?:(?:{names})[\w-]{{0,32}}+)(?:\\{{0,4}}[\"']?\s{{0,8}}[=:]++\s{{0,8}}|[\"']\s{{0,8}},\s{{0,8}})(?:b(?=[\"']))?)"
        rf"(?!\[redacted\]){value}"
        # What stands behind the name may be a name itself: "bad token: password: S".
        rf"(?:\s{{0,8}}[=:]++\s{{0,8}}(?:{value})?)*+"
    )


# These two header fields hold several words, so an unquoted value runs to the end of the line, with what is
# quoted in it (the parameters of Digest, RFC 7616 §3.4).
_HEADER_LINE = re.compile(
    r"((?:proxy-authorization|authorization|set-cookie|cookie):\s{0,8})(?!\[redacted\])[^\r\n\"']++"
    rf"(?:(?:(?<=[=:\s])|(?<=[=:\s]b))(?:{_QUOTED})[^\r\n\"']*+)*+"
)


def _lower(text: str) -> str:
    """Return the text in lower case, as long as it was (U+0130 alone becomes two characters)."""
    return text.replace("\u0130", "I").lower()


def _masked(pattern: re.Pattern[str], text: str, lower: str) -> str:
    """Mask behind the first group of each match of a pattern that is looked for in lower case."""
    parts: list[str] = []
    start = 0
    for found in pattern.finditer(lower):
        parts += (text[start : found.end(1)], _MASK)
        start = found.end()
        if len(parts) == 2 * _MOST:
            return "".join(parts)
    parts.append(text[start:])
    return "".join(parts)


def _without_user_info(text: str) -> str:
    """Mask what stands between ``://`` and ``@``."""
    if text.count("://") > _MOST:
        text = "://".join(text.split("://", _MOST)[:-1]) + f"://{_MASK}"
    return _USER_INFO.sub(f"://{_MASK}@", text)


def _without_echo(text: str) -> str:
    """Mask what pydantic shows of a refused value."""
    parts: list[str] = []
    start = 0
    while (end := text.find(_ECHO_END, start)) >= 0:
        at = text.find(_ECHO, max(start, end - _ECHO_LENGTH - len(_ECHO)), end)
        parts += (text[start:end],) if at < 0 else (text[start : at + len(_ECHO)], _MASK)
        parts.append(_ECHO_END)
        start = end + len(_ECHO_END)
    return "".join(parts) + text[start:]


def _without_parameters(text: str) -> str:
    """Mask what SQLAlchemy shows of a statement's parameters: up to the last bracket of the line."""
    parts: list[str] = []
    start = 0
    while (at := text.find(_PARAMETERS, start)) >= 0:
        at += len(_PARAMETERS)
        line = text.find("\n", at)
        line = len(text) if line < 0 else line
        end = text.rfind("]", at, line)
        parts += (text[start:at], _MASK)
        start = line if end < 0 else end
    return "".join(parts) + text[start:]


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_collection(value: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(value, (list, tuple, Set))


def _is_pair(value: object) -> TypeGuard[tuple[Any, Any]]:
    return isinstance(value, tuple) and len(value) == 2  # pyright: ignore[reportUnknownArgumentType]


def _joined(name: str) -> str:
    return "".join(_WORDS.findall(name)).lower()


class Redactor:
    """Masks secrets in names, strings and nested values.

    Parameters:
        extra: further secret names; each covers every name that contains it, whatever the case and hyphens.

    Raises:
        ValueError: an extra name has no letter or digit, so it would cover everything.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        extra = tuple(extra)
        joined = tuple(_joined(name) for name in extra)
        if not all(joined):
            raise ValueError(
                "ROADWORTHY_LOG_REDACT: a name has no letter or digit; give the names of fields to mask"
            )
        self._anywhere = _ANYWHERE + joined
        self._known: dict[str, bool] = {}
        self._hints = _HINTS + tuple(_WORDS.findall(name)[0].lower() for name in extra)
        names = [
            _IN_TEXT,
            *("[_-]?".join(re.escape(word.lower()) for word in _WORDS.findall(name)) for name in extra),
        ]
        self._assignment = _assignment("|".join(names))

    def is_secret(self, name: str) -> bool:
        """Return whether values under this name are masked."""
        known = self._known.get(name)
        if known is None:
            words = [word.lower() for word in _WORDS.findall(name)]
            joined = "".join(words)
            known = (
                any(part in joined for part in self._anywhere)
                or not _WHOLE_WORDS.isdisjoint(words)
                or joined.endswith("token")
            )
            # Names come from code, but extra mappings may hold a client's keys: any number, of any length.
            if len(name) <= _LONGEST_KEPT:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[name] = known
        return known

    def text(self, text: str) -> str:
        """Return the text with secrets masked, lone surrogates replaced, cut to 8,192 characters."""
        if len(text) > _TEXT_LIMIT:
            half = _TEXT_LIMIT // 2
            text = f"{text[:half]}\n[… {len(text) - 2 * half} characters cut …]\n{text[-half:]}"
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        # Searching for plain words first: most texts hold none of them, and a pattern costs 20 times as much.
        lower = text.lower()
        if "@" in lower:
            text = _without_user_info(text)
        # Names first: what is masked without one may be a name ("bearer token: S").
        if any(mark in lower for mark in _MARKS) and any(word in lower for word in self._hints):
            if ":" in text:
                text = _masked(_HEADER_LINE, text, _lower(text))
            text = _masked(self._assignment, text, _lower(text))
        if (" " in lower or "\t" in lower) and any(word in lower for word in _SCHEME_HINTS):
            text = _SCHEME.sub(lambda found: f"{found[1] or found[2]} {_MASK}", text)
        if "eyJ" in text:
            text = _JWT.sub(_MASK, text)
        if _ECHO in text:
            text = _without_echo(text)
        if _PARAMETERS in text:
            text = _without_parameters(text)
        return text

    def value(self, value: object, depth: int = 6) -> JsonValue:
        """Return the value as JSON can hold it, with secrets masked at any depth.

        Parameters:
            value: anything; what JSON does not know is shown by ``str`` (exceptions, dates, UUIDs, models).
            depth: nesting levels that are kept; deeper ones (and cycles) become ``"…"``.
        """
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int):
            # Python refuses to print integers above 4,300 digits, and no reader of logs wants one.
            return int(value) if -(1 << 63) <= value < 1 << 64 else "integer of more than 64 bits"
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(value)
        if isinstance(value, (bytes, bytearray)):
            return self.text(bytes(value[:_TEXT_LIMIT]).decode("utf-8", "backslashreplace"))
        if _is_mapping(value):
            return self._mapping(value, depth)
        if _is_collection(value):
            return self._sequence(value, depth)
        return self.text(str(value))

    def field(self, name: str, value: object, depth: int = 6) -> JsonValue:
        """Return the value that a record shows under ``name``."""
        if value is not None and not isinstance(value, bool) and self.is_secret(name):
            return _MASK
        return self.value(value, depth)

    def _mapping(self, mapping: Mapping[Any, Any], depth: int) -> JsonValue:
        if depth == 0:
            return "…"
        made: dict[str, JsonValue] = {}
        for key, value in mapping.items():
            if len(made) == 64:
                made["…"] = f"{len(mapping) - 64} more"
                break
            name = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)
            made[self.text(name)] = self.field(name, value, depth - 1)
        return made

    def _sequence(self, values: Iterable[Any], depth: int) -> JsonValue:
        if depth == 0:
            return "…"
        made: list[JsonValue] = []
        for value in values:
            if len(made) == 64:
                made.append("…")
                break
            # A pair whose first half is a secret name is a header field or an item of a mapping.
            if _is_pair(value) and isinstance(value[0], (str, bytes)):
                name = value[0].decode("latin-1") if isinstance(value[0], bytes) else value[0]
                made.append([self.text(name), self.field(name, value[1], depth - 1)])
            else:
                made.append(self.value(value, depth - 1))
        return made
