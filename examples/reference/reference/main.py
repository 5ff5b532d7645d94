"""The production entry point: ``roadworthy run reference.main:app``."""

from roadworthy import roadworthy

from .application import create_app

__all__ = ("app",)

service = create_app()
app = roadworthy(service, resources=[service.state.database])
