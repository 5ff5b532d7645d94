"""How requests and answers are shown: as excerpts of their bytes, and as a command that sends them again."""

from __future__ import annotations

import re
import shlex

from ..verdict import WireExchange
from .request import Request
from .wire import Answer

__all__ = ("curl", "cut", "shown")

_EXCERPT = 1_200
_FIELD = 200
_RUN = re.compile(r"([A-Za-z0-9])\1{99,}")


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
        # Octal, because that is all that printf of a POSIX shell knows.
        text = "".join(chr(byte) if _plain(byte) else f"\\{byte:03o}" for byte in request.raw[:_EXCERPT])
        # netcat wants host and port apart.
        there = f'$(echo "${{{variable}#http://}}" | tr : " ")'
        return f"printf {shlex.quote(text.replace('%', '%%'))} | nc {there}"
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
    if request.body:
        try:
            text = request.body.decode()
        except UnicodeDecodeError:
            text = ""
        if text and len(text) <= _EXCERPT and "\0" not in text:
            words += ["--data-raw", text]
        else:
            words += ["--data-binary", f"@body-of-{len(request.body)}-bytes"]
    path = _word(request.path) if request.path else ""
    return f'{" ".join(map(_word, words))} --path-as-is "${variable}"{path}'


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
