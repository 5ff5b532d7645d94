"""Targets for every parser whose bytes a client, or a service under a check, decides about."""
