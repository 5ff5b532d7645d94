"""Readers of what a service writes: records, metrics, documents, JSON of unknown shape."""
