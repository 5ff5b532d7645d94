"""What the zoo's service reads from its environment when it starts, and what may be wrong with that.

``ZOO_STRICT=1`` makes ``ITEMS_KEY`` a required secret; services of tests that are not about it need none.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from .service import faulty

__all__ = ("Misconfigured", "read_configuration")

_LEVELS = ("debug", "info", "warning", "error")
_DEFAULTS = {"changeme", "secret", "password"}


class Misconfigured(ValueError):
    """Raised when a variable is missing or wrong; the message names it."""


def read_configuration() -> int:
    """Return the port to listen on.

    Raises:
        Misconfigured: a variable is missing or wrong.
    """
    if faulty("env-8-file-wins") and Path(".env").exists():
        for line in Path(".env").read_text().splitlines():
            name, _, value = line.partition("=")
            os.environ[name] = value
    try:
        _check_level()
        _check_key()
        _check_store()
        _check_page()
        port = _port()
    except Misconfigured as problem:
        if faulty("env-6-dumps"):
            raise Misconfigured(f"{problem}; the environment is {dict(os.environ)}") from None
        if faulty("env-3-wordless") and "ITEMS_KEY is missing" in str(problem):
            raise Misconfigured("a variable is missing") from None
        raise
    if faulty("env-1-second-listener"):
        _keep.append(socket.create_server(("127.0.0.1", 0)))
    if faulty("env-6-command-line"):
        key = os.environ.get("ITEMS_KEY", "")
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"--key={key}"])
    return _other_port() if faulty("env-1-other-port") and "production" in sys.argv else port


_keep: list[socket.socket] = []


def _other_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _port() -> int:
    text = os.environ.get("PORT", "")
    if faulty("env-2-letters"):
        text = text.rstrip("abc") or text
    if text.isdecimal() and int(text) < 65_536:
        return int(text)
    if faulty("env-2-default"):
        return _other_port()
    if faulty("env-2-wordless"):
        raise Misconfigured("bad value")
    if faulty("env-2-status-0"):
        print("PORT is bad", flush=True)
        raise SystemExit(0)
    if faulty("env-2-nowhere"):
        # As Express does, which takes it for the name of a Unix socket.
        import time

        time.sleep(60)
    raise Misconfigured("PORT has to be a number from 0 to 65535")


def _check_level() -> None:
    level = os.environ.get("LOG_LEVEL", "info")
    if level.isupper() and faulty("env-5-letters"):
        os.environ["LOG_LEVEL"] = "info"
    level = level.lower()
    if faulty("env-5-fixed"):
        os.environ["LOG_LEVEL"] = "info"
    elif level not in _LEVELS:
        if not faulty("env-5-silent"):
            raise Misconfigured(f"LOG_LEVEL has to be one of {', '.join(_LEVELS)}")
        os.environ["LOG_LEVEL"] = "info"


def _check_key() -> None:
    key = os.environ.get("ITEMS_KEY", "")
    if not os.environ.get("ZOO_STRICT"):
        return
    if key.isspace() and faulty("env-3-blank"):
        return
    if not key.strip():
        if faulty("env-3-default"):
            return
        raise Misconfigured("ITEMS_KEY is missing")
    if key in _DEFAULTS and not faulty("env-7-default"):
        raise Misconfigured("ITEMS_KEY is a well-known default")
    weak = (len(key) < 16 or len(set(key)) < 5) and key not in _DEFAULTS
    if weak and not faulty("env-7-short"):
        raise Misconfigured(f"ITEMS_KEY is weak{f': {key}' if faulty('env-6-repeats') else ''}")


def _check_store() -> None:
    url = os.environ.get("DATABASE_URL", "tcp://127.0.0.1:1/x")
    if urlsplit(url).scheme in {"tcp", "sqlite", "postgresql"}:
        return
    if faulty("env-4-falls-back"):
        del os.environ["DATABASE_URL"]
        return
    raise Misconfigured(f"DATABASE_URL is no URL of a store{f': {url}' if faulty('env-6-url') else ''}")


def _check_page() -> None:
    page = os.environ.get("ITEMS_PAGE", "20")
    if not page.isdecimal() and not faulty("env-10-nothing"):
        raise Misconfigured("ITEMS_PAGE has to be a number")
