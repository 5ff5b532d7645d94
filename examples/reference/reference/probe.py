"""The probe entry point: the same service with the routes that misbehave on purpose. Never in production."""

from roadworthy import roadworthy

from .application import create_app

__all__ = ("app",)

service = create_app(probe=True)
app = roadworthy(service, resources=[service.state.database])
