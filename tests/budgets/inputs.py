"""Worst inputs out of the words of a grammar: repeats, nesting, and what almost matches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import TypeAlias

__all__ = ("Make", "fill", "hostile", "json_bodies", "refused_bodies")

Make: TypeAlias = Callable[[int], bytes]
"""Makes an input of about so many bytes."""


def fill(unit: bytes, size: int) -> bytes:
    """Return the unit again and again, at most ``size`` bytes of it."""
    return unit * (size // len(unit))


def hostile(words: Sequence[bytes], head: bytes = b"", tail: bytes = b"") -> Iterator[tuple[str, Make]]:
    """Yield ways to fill any number of bytes, between a fixed beginning and a fixed end.

    Each word again and again (repeats); each two in alternation (near-matches, and nesting where they are
    brackets); all of one and then all of another; and one word at the end of many others.
    """

    room = len(head) + len(tail)

    def again(unit: bytes) -> Make:
        return lambda size: head + fill(unit, max(size - room, 0)) + tail

    def then(one: bytes, other: bytes, part: float) -> Make:
        def make(size: int) -> bytes:
            left = max(size - room, 0)
            second = int(left * part) or len(other)
            return head + fill(one, left - second) + fill(other, second) + tail

        return make

    for word in words:
        yield f"{word!r} again", again(word)
    for one, other in permutations(words, 2):
        yield f"{one + other!r} again", again(one + other)
        yield f"{one!r} then {other!r}", then(one, other, 0.5)
        yield f"{one!r} and one {other!r}", then(one, other, 0.0)


_ELEMENTS = (
    b"[]", b"{}", b"1", b"0.1", b"1e1", b"1e300", b'"e300"', b"[1e300]", b'""', b'"a"', b'"\xc3\xa9"',
    b'"3f2ae123bc"', b"true", b"null", b"9" * 18, b"9" * 19, b"1" * 209 + b"e1", b"1" * 308,
    b"1" * 308 + b".0", b"1" * 4300, b"0." + b"1" * 800, b"1e-999", b"1e0000001", b'{"a":1}',
    b"[" * 150 + b"]" * 150, b'{"a":' * 150 + b"1" + b"}" * 150,
    b'"\\\\u0000"', b'"\\\\\\\\u0000"', b'"\\ud83d\\ude97"', b"\n\n1",
)  # fmt: skip
_LETTERS = (
    b"a", b"e", b"e00", b"0", b"\\n", b"\\\\", b"\\u00e9", b"\\u1234", b"\\ud83d\\ude97", b"\xc3\xa9",
    b"\xf0\x9f\x98\x80", b"\\\\u0000", b"\\\\\\\\u0000", b"e+999", b" ",
)  # fmt: skip


def _listed(element: bytes, last: bytes = b"") -> Make:
    def make(size: int) -> bytes:
        count = max(size // (len(element) + 1), 1)
        return b"[" + b",".join([element] * count + ([last] if last else [])) + b"]"

    return make


def _short(element: bytes) -> str:
    return repr(element) if len(element) <= 20 else f"{element[:20]!r}… of {len(element)} bytes"


def _text(letter: bytes) -> Make:
    return lambda size: b'"%b"' % (letter * (size // len(letter)))


def json_bodies() -> Iterator[tuple[str, Make]]:
    """Yield JSON that the layer lets through, of every kind that costs someone something."""
    for element in _ELEMENTS:
        yield f"a list of {_short(element)}", _listed(element)
    # One exponent makes the layer look at every number.
    for element in (b"[]", b"1", b'""', b'{"a":1}', b"9" * 19):
        yield f"a list of {_short(element)} and an exponent", _listed(element, b"1e300")
    for letter in _LETTERS:
        yield f"a text of {letter!r}", _text(letter)
    yield "different names", lambda size: b"{%b}" % b",".join(b'"%d":1' % n for n in range(size // 11))
    yield "different texts", lambda size: b"[%b]" % b",".join(b'"%d"' % n for n in range(size // 9))
    yield "one name", lambda size: b"{%b}" % b",".join([b'"a":1'] * (size // 6))
    yield "blanks", lambda size: b" " * size + b"1"
    yield "lines", lambda size: b"\n" * size + b"1"
    yield "one fraction", lambda size: b"0." + b"1" * size


def refused_bodies() -> Iterator[tuple[str, Make]]:
    """Yield JSON with one fault at its very end, where most has been read for nothing."""
    for element in (b"[]", b"1", b'"a"', b"9" * 19, b'{"a":1}', b"[" * 150 + b"]" * 150, b"\n\n1"):
        for last in (b"1e999", b'"\\u0000"', b'"\\ud800"', b'{"\\u0000":1}', b'{"\\udc00":1}', b"NaN", b"x"):
            yield f"a list of {_short(element)} and {last!r}", _listed(element, last)
