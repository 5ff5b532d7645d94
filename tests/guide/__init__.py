"""The guide's own snippets: kept as printed, locked, and able to start."""
