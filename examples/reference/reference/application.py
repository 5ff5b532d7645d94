"""The wiring: settings → database → repositories → services → routes, in this one place."""

from fastapi import FastAPI

from roadworthy import Settings
from roadworthy.layer.resources import Resource
from roadworthy.patterns import OffloadPool, idempotent
from roadworthy.settings import load_settings

from .database import Database
from .posts.controller import PostController
from .posts.service import PostService
from .primes.router import router as primes_router
from .probes import router as probe_router
from .reads.controller import ReadController
from .reads.service import ReadService
from .storage import Storage, in_database
from .transfers.controller import TransferController
from .transfers.service import TransferService
from .users.router import router as users_router
from .users.service import UserService

__all__ = ("create_app",)

_CREATING = ("/api/users", "/api/users/{id}/posts", "/api/transfers")
"""Where an Idempotency-Key is honoured."""


def create_app(
    settings: Settings | None = None, *, probe: bool = False, storage: Storage | None = None
) -> FastAPI:
    """Build the application.

    Parameters:
        settings: those of the layer are all that the service needs; read from the environment when left out.
        probe: also serve the routes of :mod:`reference.probes`. Never in production.
        storage: where everything is kept; in the database of ``DATABASE_URL`` when left out.

    Raises:
        SettingsError: a setting is wrong, or ``DATABASE_URL`` names no database that is spoken here.
    """
    app = FastAPI(title="Users and posts", version="1.0.0")
    resources: list[Resource] = []
    app.state.resources = resources
    if storage is None:
        settings = settings or load_settings()
        database = Database.from_settings(settings)
        resources.append(database)
        storage = in_database(database)

    users, posts = storage.users, storage.posts
    app.state.users = UserService(users)
    routers = [
        users_router,
        PostController(PostService(users, posts)).router,
        TransferController(TransferService(users, posts)).router,
        ReadController(ReadService(users, posts)).router,
        primes_router,
    ]
    resources.append(OffloadPool(settings))
    if probe:
        routers.append(probe_router)
    for router in routers:
        app.include_router(router)

    app.add_middleware(idempotent, answers=storage.answers, paths=_CREATING)
    return app
