"""A WSGI app without a framework: for servers that are judged by themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer `/` and `/slow`."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(2)
    found = environ["PATH_INFO"] in {"/", "/slow"}
    body = b'{"ok":true}' if found else b'{"ok":false}'
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK" if found else "404 Not Found", headers)
    return [body]


if __name__ == "__main__":
    import waitress

    waitress.serve(app, host="127.0.0.1", port=int(os.environ["PORT"]))
