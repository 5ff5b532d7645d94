"""Twins for ``transactions``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("PLAIN", "TWINS")

_CHILDREN = (
    'child_create = { path = "/api/users/{id}/posts", body = { title = "Title {unique}", body = "Text" } }\n',
    'child_list = { path = "/api/users/{id}/posts" }\n',
    'overview = { path = "/api/users/{id}/overview" }\n',
    'batch = { path = "/api/users/batch" }\n',
    'transfers = { path = "/api/transfers" }\n',
)
PLAIN = tuple((line, "") for line in _CHILDREN)
"""A service that creates and reads, and has nothing below what it creates."""

TWINS = (
    Twin("txn-1-one-by-one", "TXN-1"),
    Twin("txn-1-many-commits", "TXN-1"),
    Twin("txn-2-answers-first", "TXN-2", frozenset({"TXN-1", "TXN-3", "TXN-4", "TXN-5", "TXN-6"})),
    Twin("txn-3-late", "TXN-3", frozenset({"TXN-1", "TXN-2", "TXN-4", "TXN-5", "TXN-6"})),
    Twin("txn-2-answers-first,plain", "TXN-2", frozenset({"TXN-3"}), replace=PLAIN),
    Twin("txn-3-late,plain", "TXN-3", frozenset({"TXN-2"}), replace=PLAIN),
    Twin("txn-4-unlocked", "TXN-4"),
    Twin("txn-5-orphans", "TXN-5"),
    Twin("txn-5-two-units", "TXN-5"),
    Twin("txn-6-ignores", "TXN-6"),
    Twin("txn-6-race", "TXN-6"),
)
