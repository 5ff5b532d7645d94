"""The site whose views leave, for servers that take no factory."""

from tests.apps.exits import django

__all__ = ("app",)

app = django()
