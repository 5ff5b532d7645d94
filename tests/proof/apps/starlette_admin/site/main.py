"""Another admin, whose pages get their data by an API of its own."""

from sqlalchemy import Column, Integer, String, create_engine
from sqlalchemy.orm import declarative_base
from starlette.applications import Starlette
from starlette_admin.contrib.sqla import Admin, ModelView

Base = declarative_base()
engine = create_engine("sqlite:///posts.sqlite", connect_args={"check_same_thread": False})


class Post(Base):
    __tablename__ = "posts"
    id = Column(Integer, primary_key=True)
    title = Column(String, nullable=False)


Base.metadata.create_all(engine)
app = Starlette()
admin = Admin(engine, title="proof")
admin.add_view(ModelView(Post))
admin.mount_to(app)
