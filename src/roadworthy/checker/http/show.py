"""How requests and answers are shown: as excerpts of their bytes, and as a command that sends them again."""

from __future__ import annotations

import re
import shlex
import zlib

from ..verdict import WireExchange
from .request import Request
from .wire import Answer

__all__ = ("curl", "cut", "shown")

_EXCERPT = 1_200
_FIELD = 200
_RUN = re.compile(r"([A-Za-z0-9])\1{99,}")
_REPEATED = re.compile(rb"(.{1,16}?)\1{49,}", re.DOTALL)
_LEAST_ARGUMENT = 131_072
"""Bytes of a single argument from which on Linux starts no program (execve(2), MAX_ARG_STRLEN)."""


def shown(answer: Answer, note: str = "") -> WireExchange:
    """Return an exchange as evidence."""
    return WireExchange(
        request=_request(answer.request),
        response=_response(answer),
        curl=curl(answer.request),
        seconds=round(max(answer.seconds, 0.0), 4),
        note=note,
    )


def curl(request: Request) -> str:
    """Return a command line that sends the request again.

    The service's address is the variable ``$URL`` in it (``$METRICS_URL`` on a listener of operations): the
    port that a process had is gone with it.
    """
    variable = request.address.name
    if request.raw is not None:
        # netcat wants host and port apart.
        there = f'$(echo "${{{variable}#http://}}" | tr : " ")'
        return f"{_written(request.raw) or _printf(request.raw[:_EXCERPT])} | nc {there}"
    words = ["curl", "-sS", "-i"]
    if request.later:  # the second request of one command goes over the connection of the first
        words = ["curl", "-sS", "-o", "/dev/null", f"http://{request.address}/", "--next", *words[1:]]
    if request.version == "1.0":
        words.append("--http1.0")
    if request.method == "HEAD":
        words.append("--head")
    elif request.method != "GET":
        words += ["-X", request.method]
    for name, value in request.fields:
        if name.lower() in {"host", "content-length", "user-agent"}:
            continue
        words += ["-H", f"{name}: {value}"]
    before = ""
    if request.body:
        if all(name.lower() != "content-type" for name, _ in request.fields):
            words += ["-H", "Content-Type:"]  # or curl takes it for a form
        text = _text_of(request.body)
        if text and len(text) <= _EXCERPT:
            words += ["--data-raw", text]
        elif written := _written(request.body):
            before, words = f"{written} | ", [*words, "--data-binary", "@-"]
        else:
            words += ["--data-binary", f"@body-of-{len(request.body)}-bytes"]
    path = _word(request.path) if request.path else ""
    return f'{before}{" ".join(map(_word, words))} --path-as-is "${variable}"{path}'


def _text_of(body: bytes) -> str:
    """Return a body that can be an argument of a command; empty for any other."""
    try:
        text = body.decode() if len(body) < _LEAST_ARGUMENT else ""
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text


def _written(data: bytes) -> str:
    """Return a command that writes bytes, the repetitions made by the shell; empty when it would be long."""
    if len(zlib.compress(data, 1)) > 2 * _EXCERPT:  # too few repetitions, which would take long to look for
        return ""
    parts: list[str] = []
    end = 0
    for run in _REPEATED.finditer(data):
        unit = run[1]
        parts.append(_printf(data[end : run.start()]))
        parts.append(f"{_printf(unit, '%.0s')} $(seq {len(run[0]) // len(unit)})")
        end = run.end()
    parts.append(_printf(data[end:]))
    found = "; ".join(filter(None, parts))
    if len(found) > 2 * _EXCERPT:
        return ""
    return f"{{ {found}; }}" if ";" in found else found


def _printf(data: bytes, behind: str = "") -> str:
    """Return the command of a POSIX shell that writes bytes, each that is not plain in octal."""
    if not data:
        return ""
    text = "".join(chr(byte) if _plain(byte) else f"\\{byte:03o}" for byte in data).replace("%", "%%")
    if text.startswith("-"):  # else it were an option
        text = f"\\{ord('-'):03o}{text[1:]}"
    return f"printf {shlex.quote(text + behind)}"


def _word(text: str) -> str:
    """Quote a word for a POSIX shell, which makes long runs of one character itself."""
    quoted, end = "", 0
    for run in _RUN.finditer(text):
        quoted += shlex.quote(text[end : run.start()]) if run.start() > end else ""
        quoted += f"\"$(printf '%{len(run[0])}s' '' | tr ' ' {run[1]})\""
        end = run.end()
    return quoted + (shlex.quote(text[end:]) if end < len(text) or not text else "")


def _request(request: Request) -> str:
    if request.raw is not None:
        return _text(request.raw)
    lines = [f"{request.method} {cut(request.path, _EXCERPT)} HTTP/{request.version}"]
    lines += [f"{name}: {cut(value, _FIELD)}" for name, value in request.fields]
    return "\n".join(lines) + ("\n\n" + _text(request.body) if request.body else "")


def cut(text: str, length: int) -> str:
    """Return the first ``length`` characters, and a sign where there were more."""
    return text if len(text) <= length else f"{text[:length]}…"


def _response(answer: Answer) -> str:
    if answer.head is None:
        return f"({answer})"
    head = answer.head.raw.decode("latin-1").replace("\r\n", "\n").rstrip("\n")
    text = head[:_EXCERPT] + ("\n\n" + _text(answer.body) if answer.body else "")
    return text if answer.complete else f"{text}\n({answer.ending})"


def _text(data: bytes) -> str:
    excerpt = data[:_EXCERPT]
    try:
        text = excerpt.decode()
    except UnicodeDecodeError:
        text = "".join(chr(byte) if _plain(byte) or byte == 0x0A else f"\\x{byte:02x}" for byte in excerpt)
    # Control characters from the wire must not reach a terminal.
    text = "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text)
    return text if len(data) <= _EXCERPT else f"{text}… ({len(data)} bytes)"


def _plain(byte: int) -> bool:
    return 0x20 <= byte < 0x7F and byte != 0x5C
