"""The wiring: settings → database → services → routes, in this one place."""

from fastapi import FastAPI

from .database import Database, database_path
from .posts.controller import PostController
from .posts.service import PostService
from .probes import router as probe_router
from .settings import Settings, settings
from .users.router import router as users_router
from .users.service import UserService

__all__ = ("create_app",)


def create_app(config: Settings | None = None, *, probe: bool = False) -> FastAPI:
    """Build the application.

    Parameters:
        config: the settings; read from the environment when left out.
        probe: also serve the routes of :mod:`reference.probes`. Never in production.

    Raises:
        ValueError: ``DATABASE_URL`` names a database that this service does not speak.
    """
    config = config or settings()
    database = Database(database_path(config.database_url.get_secret_value()), config.pool_timeout)
    app = FastAPI(title="Users and posts", version="1.0.0")
    app.state.database = database
    app.state.users = UserService(database)
    app.include_router(users_router)
    app.include_router(PostController(PostService(database)).router)
    if probe:
        app.include_router(probe_router)
    return app
