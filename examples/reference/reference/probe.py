"""The probe entry point: the same service with the routes that misbehave on purpose. Never in production."""

from roadworthy import roadworthy
from roadworthy.settings import load_settings

from .application import create_app

__all__ = ("app",)

settings = load_settings()
service = create_app(settings, probe=True)
app = roadworthy(service, settings=settings, resources=service.state.resources)
