"""HTTP/1.1: the connection, its parser and its transport."""
