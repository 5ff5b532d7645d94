"""The environment of the service, its records, and what its workers share."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import uuid
from datetime import UTC, datetime

from store import FAULT, Shared  # type: ignore[import-not-found]

__all__ = ("OWN", "SETTINGS", "SHARED", "record")

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Settings:
    """The environment, judged as a whole before anything starts."""

    def __init__(self, env: dict[str, str]) -> None:
        mistakes: list[str] = []
        self.port = int(env.get("PORT", "8000")) if re.fullmatch(r"\d{1,5}", env.get("PORT", "8000")) else 0
        if not 0 < self.port < 65536:
            mistakes.append("PORT must be a whole number from 1 to 65535")
        secret = env.get("APP_SECRET", "")
        if FAULT == "py-env-blank" and "APP_SECRET" in env and not secret.strip():
            secret = uuid.uuid4().hex
        if not secret:
            mistakes.append("APP_SECRET is required")
        elif (
            len(secret) < 16
            or secret.lower() in {"changemechangeme", "secretsecretsecret"}
            or len(set(secret)) < 6
        ):
            shown = f" (it is {secret!r})" if FAULT == "py-env-secret-short" else ""
            mistakes.append(f"APP_SECRET must have at least 16 characters that nobody guesses{shown}")
        self.level = env.get("LOG_LEVEL", "info").lower()
        if self.level not in LEVELS:
            mistakes.append(f"LOG_LEVEL must be one of {', '.join(LEVELS)}")
        url = env.get("DATABASE_URL", "sqlite:///./data.db")
        if not url.startswith("sqlite:///"):
            mistakes.append("DATABASE_URL must begin with sqlite:///")
        self.database = url.removeprefix("sqlite:///")
        limit = re.fullmatch(r"(\d+)/(\d+)", env.get("RATE_LIMIT", "600/60"))
        if not limit or not int(limit[2]):
            mistakes.append("RATE_LIMIT must be requests/seconds, such as 600/60")
        self.limit, self.window = (int(limit[1]), int(limit[2])) if limit else (0, 1)
        workers = env.get("WEB_CONCURRENCY", "1")
        if not re.fullmatch(r"[1-9]\d?", workers):
            mistakes.append("WEB_CONCURRENCY must be a number of workers from 1 to 99")
        self.workers = int(workers) if workers.isdigit() else 1
        self.origins = tuple(filter(None, env.get("ALLOWED_ORIGINS", "").split(",")))
        self.secret = secret
        if mistakes:
            for mistake in mistakes:
                record("error", f"configuration: {mistake}")
            sys.exit(2)


def record(level: str, message: str, **more: object) -> None:
    """Write one record to the standard output, at once."""
    if LEVELS[level] < THRESHOLD:
        return
    entry = {"time": datetime.now(UTC).isoformat(), "level": level, "message": message, **more}
    print(json.dumps(entry), flush=True)


THRESHOLD = LEVELS.get(os.environ.get("LOG_LEVEL", "info").lower(), 20)
SETTINGS = Settings(dict(os.environ))
SHARED = Shared(os.environ.setdefault("SHARED_FILE", os.path.join(tempfile.mkdtemp(), "shared.db")))
OWN = (
    Shared(os.path.join(tempfile.mkdtemp(), "own.db"))
    if FAULT in {"py-rtl-workers", "py-met-workers-4xx"}
    else SHARED
)
