"""Litestar configures logging in every process, asked or not; handlers nobody asked for give way."""

from __future__ import annotations

import logging
from logging.handlers import QueueHandler
from typing import Any

from litestar import Litestar
from litestar.logging import LoggingConfig

__all__ = ("drop_default_handlers",)

_FIELDS = ("root", "handlers", "formatters", "loggers", "filters")


def drop_default_handlers(app: Litestar) -> None:
    """Remove Litestar's own handlers unless the app gave a logging configuration of its own.

    Otherwise the root logger looks configured by the service, and the server's access lines, queries
    included, would stand beside the layer's.
    """
    config: Any = app.logging_config
    if type(config) is not LoggingConfig:
        return
    default = LoggingConfig()
    if any(getattr(config, name) != getattr(default, name) for name in _FIELDS):
        return
    for name in (None, "litestar"):
        logger = logging.getLogger(name)
        for handler in [one for one in logger.handlers if isinstance(one, QueueHandler)]:
            logger.removeHandler(handler)
        logger.propagate = True
