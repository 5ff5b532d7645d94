"""Twins for ``environment``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

_SOON = (('timeout = "20s"', 'timeout = "5s"'),)
# A service that never listens on its port cannot be checked at all; this one does not in production.
_COMMAND = 'command = ["{python}", "-m", "tests.zoo"]'
_PRODUCTION = (
    *_SOON,
    (_COMMAND, f'{_COMMAND[:-1]}, "production"]\nprobe_{_COMMAND}'),
)

TWINS = (
    Twin("env-1-second-listener", "ENV-1"),
    Twin("env-1-other-port", "ENV-1", replace=_PRODUCTION),
    Twin("env-2-default", "ENV-2", frozenset({"ENV-10"})),
    Twin("env-2-letters", "ENV-2"),
    Twin("env-2-wordless", "ENV-2"),
    Twin("env-2-status-0", "ENV-2"),
    Twin("env-2-nowhere", "ENV-2", replace=_SOON),
    Twin("env-3-default", "ENV-3"),
    Twin("env-3-blank", "ENV-3", warns=True),
    Twin("env-3-wordless", "ENV-3"),
    Twin("env-4-falls-back", "ENV-4"),
    Twin("env-5-silent", "ENV-5"),
    Twin("env-5-fixed", "ENV-5"),
    Twin("env-5-letters", "ENV-5"),
    Twin("env-6-dumps", "ENV-6"),
    Twin("env-6-command-line", "ENV-6"),
    Twin("env-6-repeats", "ENV-6"),
    Twin("env-6-url", "ENV-6"),
    Twin("env-6-log", "ENV-6"),
    Twin("env-6-page", "ENV-6"),
    Twin("env-7-default", "ENV-7"),
    Twin("env-7-short", "ENV-7"),
    Twin("env-8-file-wins", "ENV-8"),
    Twin("env-9-debugs", "ENV-9"),
    Twin("env-9-console", "ENV-9"),
    Twin("env-10-nothing", "ENV-10"),
)
