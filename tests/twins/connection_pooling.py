"""Twins for ``connection-pooling``: on the key-value server, and on SQLite what only a file has."""

from tests.zoo.harness import Twin

__all__ = ("SQLITE", "TWINS")

SQLITE = (
    ('kind = "tcp"', 'kind = "sqlite"'),
    ('url = "tcp://zoo:{password}@127.0.0.1:{store}/{space}"', 'url = "sqlite:///zoo.db"'),
    ("max_connections = 40\n", ""),
)

TWINS = (
    Twin("pool-1-per-request", "POOL-1", frozenset({"POOL-2"})),
    # An opened file is no connection: worth knowing, and no more.
    Twin("pool-1-opens-the-file", "POOL-1", warns=True, replace=SQLITE),
    Twin("pool-2-unbounded", "POOL-2", frozenset({"POOL-3", "POOL-4"})),
    Twin("pool-3-forgets", "POOL-3", frozenset({"POOL-2", "POOL-4"})),
    Twin("pool-4-leaks", "POOL-4"),
    Twin("pool-5-waits-forever", "POOL-5"),
    Twin("pool-5-breaks", "POOL-5", warns=True),
    Twin("pool-6-keeps-dead", "POOL-6", frozenset({"POOL-4", "POOL-5"})),
    Twin("pool-7-too-many", "POOL-7", replace=(("max_connections = 40", "max_connections = 4"),)),
    Twin("pool-8-leaves-journal", "POOL-8", replace=SQLITE),
    Twin("pool-9-impatient", "POOL-9", frozenset({"POOL-1", "POOL-2", "POOL-3", "POOL-4"}), replace=SQLITE),
)
