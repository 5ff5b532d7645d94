"""The smallest app of each stock server, with a route that takes two seconds."""
