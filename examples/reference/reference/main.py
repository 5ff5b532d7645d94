"""The production entry point: ``roadworthy run reference.main:app``."""

from roadworthy import roadworthy
from roadworthy.settings import load_settings

from .application import create_app

__all__ = ("app",)

settings = load_settings()
service = create_app(settings)
app = roadworthy(service, settings=settings, resources=service.state.resources)
