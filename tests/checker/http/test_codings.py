"""Undoing content codings."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any, cast

import brotli  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
import pytest
import zstandard

from roadworthy.checker.http.codings import Undecodable, codings_of, decode, decoder

_brotli = cast("Any", brotli)
_TEXT = b"one line of text like the others\n" * 400


def _raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


_CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": _brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("coding", _CODERS)
def test_what_was_coded_is_decoded(coding: str) -> None:
    """Each coding gives back the bytes that went in, whole and byte by byte."""
    coded = _CODERS[coding](_TEXT)
    assert decode((coding,), coded) == _TEXT
    found = decoder(coding)
    assert found is not None
    assert b"".join(found.feed(coded[at : at + 1]) for at in range(len(coded))) == _TEXT
    assert found.done


def test_deflate_without_its_head_is_read_too() -> None:
    """The raw form that some servers call deflate is decoded as well."""
    assert decode(("deflate",), _raw_deflate(_TEXT)) == _TEXT


def test_codings_are_undone_in_reverse() -> None:
    """What was coded twice is decoded twice, the last first."""
    assert decode(("gzip", "br"), _brotli.compress(gzip.compress(_TEXT))) == _TEXT


@pytest.mark.parametrize("coding", [*_CODERS, "compress"])
def test_what_is_not_in_the_coding_is_told(coding: str) -> None:
    """Other bytes, cut bytes and an unknown coding are refused."""
    with pytest.raises(Undecodable):
        decode((coding,), _TEXT)
    if coding in _CODERS:
        with pytest.raises(Undecodable):
            decode((coding,), _CODERS[coding](_TEXT)[:-9])


def _zeros(coding: str, mebibytes: int) -> bytes:
    """Code zeros without ever having them all."""
    piece = bytes(1 << 20)
    coder: Any
    match coding:
        case "br":
            coder = _brotli.Compressor(quality=1)
            return b"".join(coder.process(piece) for _ in range(mebibytes)) + cast("bytes", coder.finish())
        case "zstd":
            coder = zstandard.ZstdCompressor(level=1).compressobj()
        case _:
            coder = zlib.compressobj(1, wbits=zlib.MAX_WBITS + 16 * (coding == "gzip"))
    return b"".join(coder.compress(piece) for _ in range(mebibytes)) + cast("bytes", coder.flush())


@pytest.mark.parametrize(
    ("coding", "mebibytes"), [("br", 1024), ("deflate", 300), ("gzip", 300), ("zstd", 1024)]
)
def test_what_unfolds_without_end_is_not_unfolded(coding: str, mebibytes: int) -> None:
    """A small body that is a gigabyte of zeros is refused before it has taken a gigabyte."""
    coded = _zeros(coding, mebibytes)
    tracemalloc.start()
    try:
        with pytest.raises(Undecodable, match="more than 256 MiB"):
            decode((coding,), coded)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 700 << 20


def test_content_encoding_is_a_list() -> None:
    """Names compare without case, and identity is no coding."""
    assert codings_of("GZIP, identity, br") == ("gzip", "br")
    assert codings_of(None) == ()
