"""The wiring: settings → database → services → routes, in this one place."""

from fastapi import FastAPI

from roadworthy import Settings
from roadworthy.settings import load_settings

from .database import Database, database_path
from .posts.controller import PostController
from .posts.service import PostService
from .probes import router as probe_router
from .users.router import router as users_router
from .users.service import UserService

__all__ = ("create_app",)


def create_app(settings: Settings | None = None, *, probe: bool = False) -> FastAPI:
    """Build the application.

    Parameters:
        settings: those of the layer are all that the service needs; read from the environment when left out.
        probe: also serve the routes of :mod:`reference.probes`. Never in production.

    Raises:
        SettingsError: a setting is wrong, or ``DATABASE_URL`` names no SQLite file.
    """
    settings = settings or load_settings()
    database = Database(database_path(settings.database_url.get_secret_value()), settings.pool_timeout)
    app = FastAPI(title="Users and posts", version="1.0.0")
    app.state.database = database
    app.state.users = UserService(database)
    app.include_router(users_router)
    app.include_router(PostController(PostService(database)).router)
    if probe:
        app.include_router(probe_router)
    return app
