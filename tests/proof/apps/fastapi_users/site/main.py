"""A FastAPI service with accounts: registration, login by cookie and by bearer token, who am I."""

import uuid
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, CookieTransport, JWTStrategy
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

SECRET = "a secret of the proof, long enough for its key"
engine = create_async_engine("sqlite+aiosqlite:///users.sqlite")
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


async def get_manager():
    async with sessions() as session:
        yield UserManager(SQLAlchemyUserDatabase(session, User))


def strategy():
    return JWTStrategy(secret=SECRET, lifetime_seconds=3600)


class Read(schemas.BaseUser[uuid.UUID]):
    pass


class Create(schemas.BaseUserCreate):
    pass


class Update(schemas.BaseUserUpdate):
    pass


cookie = AuthenticationBackend("cookie", CookieTransport(cookie_secure=False), strategy)
bearer = AuthenticationBackend("jwt", BearerTransport("auth/jwt/login"), strategy)
users = FastAPIUsers[User, uuid.UUID](get_manager, [cookie, bearer])


@asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


app = FastAPI(lifespan=lifespan)
app.include_router(users.get_auth_router(cookie), prefix="/auth/cookie")
app.include_router(users.get_auth_router(bearer), prefix="/auth/jwt")
app.include_router(users.get_register_router(Read, Create), prefix="/auth")
app.include_router(users.get_users_router(Read, Update), prefix="/users")


@app.get("/hello")
async def hello(user: User = Depends(users.current_user(active=True))):
    return {"hello": user.email}
