"""What a fuzz target is, and how both engines give it bytes.

A target is one function of bytes that asserts what has to hold for all of them. Hypothesis calls it from
``make test`` and, for longer, from ``make proof``; atheris calls it there too, guided by coverage.

Most bytes stand for themselves. Those from 0x80 to 0xFE stand for the target's words (``Content-Length: ``,
``"\\ud800"``), so that what random bytes spell comes close to the grammar; 0xFF makes the next byte stand for
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ("Finding", "Pieces", "Target", "report", "shrunk")

_FIRST_WORD, _LITERALLY = 0x80, 0xFF


@dataclass(frozen=True, slots=True)
class Target:
    """One property of one parser.

    Parameters:
        check: raises AssertionError where the property does not hold, and whatever the parser raises.
        seeds: inputs to begin with, as the parser gets them.
        words: what the bytes from 0x80 on stand for, 127 at most.
        longest: bytes of an input before its words are spelled out.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Sequence[bytes] = ()
    words: Sequence[bytes] = ()
    longest: int = 1024

    def __call__(self, data: bytes) -> None:
        """Check what these bytes spell."""
        self.check(self.spelled(data))

    def spelled(self, data: bytes) -> bytes:
        """Return the bytes with the target's words spelled out."""
        if not self.words:
            return data
        made = bytearray()
        at = 0
        while at < len(data):
            byte = data[at]
            if byte < _FIRST_WORD:
                made.append(byte)
            elif byte == _LITERALLY:
                at += 1
                made += data[at : at + 1]
            else:
                made += self.words[(byte - _FIRST_WORD) % len(self.words)]
            at += 1
        return bytes(made)

    def written(self, data: bytes) -> bytes:
        """Return bytes that spell ``data``."""
        if not self.words:
            return data
        return b"".join(bytes((byte,)) if byte < _FIRST_WORD else bytes((_LITERALLY, byte)) for byte in data)

    def inputs(self) -> st.SearchStrategy[bytes]:
        """Return what hypothesis draws from: words, bytes, seeds and parts of seeds, in any order."""
        parts: list[st.SearchStrategy[bytes]] = [
            st.binary(max_size=8),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).map(str.encode),
        ]
        if self.words:
            words = [bytes((_FIRST_WORD + number,)) for number in range(len(self.words))]
            parts += [st.sampled_from(words)] * 3
        if self.seeds:
            seeds = [self.written(seed) for seed in self.seeds]
            cut = st.tuples(st.sampled_from(seeds), st.integers(0, 64), st.integers(0, 64))
            parts += [st.sampled_from(seeds), cut.map(lambda one: one[0][one[1] :][: one[2]])]
        return st.lists(st.one_of(parts), max_size=16).map(lambda all_: b"".join(all_)[: self.longest])


class Pieces:
    """Takes an input apart from its front, for targets that need more than one value."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self, below: int) -> int:
        """Take a number from 0 to below ``below``, 256 at most; 0 when nothing is left."""
        first, self._data = self._data[:1], self._data[1:]
        return first[0] % below if first else 0

    def until(self, end: bytes) -> bytes:
        """Take everything before ``end``, and ``end`` with it."""
        taken, _, self._data = self._data.partition(end)
        return taken

    def rest(self) -> bytes:
        """Take what is left."""
        data, self._data = self._data, b""
        return data


class Finding(Exception):
    """Raised where a property does not hold; it has the input, made shorter."""


def report(target: Target, data: bytes) -> None:
    """Check an input, and make one that fails shorter before it is reported.

    Raises:
        Finding: the property does not hold.
    """
    try:
        target(data)
        return
    except Exception as error:
        cause = error
    # Outside of the block above: what is raised inside of one carries its exception along.
    small = shrunk(lambda shorter: _fails(target, shorter), data)
    raise Finding(f"FINDING {target.name} {target.spelled(small)!r} written {small!r}") from cause


def _fails(target: Target, data: bytes) -> bool:
    try:
        target(data)
    except Exception:
        return True
    return False


def shrunk(fails: Callable[[bytes], bool], data: bytes) -> bytes:
    """Return a shorter input that still fails: halves, quarters and so on are left out as long as it does."""
    size = len(data) // 2
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data
