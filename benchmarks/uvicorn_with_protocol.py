"""uvicorn with our HTTP protocol class: ``python -m benchmarks.uvicorn_with_protocol <app> <port>``."""

from __future__ import annotations

import sys

import uvicorn

from roadworthy.server.http.factory import http_protocol
from roadworthy.server.http.limits import Limits

if __name__ == "__main__":
    uvicorn.run(
        sys.argv[1],
        port=int(sys.argv[2]),
        http=http_protocol(Limits()),
        access_log=False,
        log_level="warning",
    )
