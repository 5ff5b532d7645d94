"""The probes: one module per item and pattern, each with a list ``PROBES``; none imports another."""
