"""A Django site with its admin."""
