"""Logging items that write to a file, and exchanges for them to record."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from roadworthy.layer.exchange import Exchange
from roadworthy.layer.logging import Logging
from roadworthy.layer.logs.writer import LogWriter
from roadworthy.settings import Settings

from ..conftest import make_exchange

__all__ = ("Record", "Stream", "raised", "served")

Record = dict[str, Any]


class Stream:
    """A logging item that writes to a file, and the records that came out."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self._file = path.open("wb")
        self.item = Logging(
            Settings(_env_file=None, **{"log_format": "json", **settings}),
            writer=LogWriter(self._file.fileno()),
        )

    def take(self) -> bytes:
        """Give the lines written since the last call."""
        assert self.item.writer.flush()
        data = self.path.read_bytes()
        os.truncate(self.path, 0)
        os.lseek(self._file.fileno(), 0, os.SEEK_SET)
        return data

    def records(self) -> list[Record]:
        """Give the records written since the last call."""
        return [json.loads(line) for line in self.take().splitlines()]

    def one(self) -> Record:
        """Give the only record written since the last call."""
        (record,) = self.records()
        return record

    def close(self) -> None:
        """Undo what the item changed in the process."""
        self.item.restore()
        self.item.writer.flush()
        self._file.close()


def served(**slots: Any) -> Exchange:
    """Make an exchange whose response was sent whole."""
    return make_exchange(
        **{
            "path": "/users/42",
            "route": "/users/{id}",
            "status": 200,
            "bytes_sent": 7,
            "ended": True,
            **slots,
        }
    )


def raised(exception: BaseException) -> BaseException:
    """Give an exception that has a stack."""
    try:
        raise exception
    except BaseException as caught:
        return caught
