"""One process that serves: its start, its listeners, its event loop, its end."""
