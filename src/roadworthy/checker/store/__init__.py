"""The store behind a service: faults in front of it, and what can be counted in it."""
