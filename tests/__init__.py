"""The tests; folders mirror src by name."""
