"""Faults and attacks on a whole service: the cases as data, what drives them, and the servers to try them on.

``scripts/faults.py`` runs them all on three servers and writes docs/reliability.md; ``test_faults.py`` is the
part of them that `make test` runs on ours.
"""
