"""sqladmin on Starlette: login, a list, forms that create and change, search, export, delete, logout."""

from ..application import Application
from ..visitor import Visitor


def journey(visitor: Visitor) -> None:
    """Log in, and keep house."""
    visitor.page("/admin/")
    visitor.page("/admin/login")
    visitor.post("/admin/login", data={"username": "a", "password": "wrong"})
    visitor.post("/admin/login", data={"username": "a", "password": "right"})
    visitor.page("/admin/")
    visitor.page("/admin/user/create")
    for name in ("Ada", "Bob"):
        visitor.post("/admin/user/create", data={"name": name, "email": f"{name}@x.example", "save": "Save"})
    visitor.page("/admin/user/list?search=Ada&sortBy=name&sort=desc")
    visitor.page("/admin/user/edit/1")
    visitor.post("/admin/user/edit/1", data={"name": "Ada L", "email": "ada@x.example", "save": "Save"})
    visitor.page("/admin/user/details/1")
    visitor.get("/admin/user/export/csv")
    visitor.get("/admin/user/export/json")
    visitor.ask("DELETE", "/admin/user/delete?pks=2")
    visitor.get("/admin/user/details/77")
    visitor.get("/admin/none/list")
    visitor.get("/admin/logout")
    visitor.get("/admin/user/list")
    visitor.get("/")


APPLICATION = Application(journey, varies=(r"(filename=User_)[\d\-_]+", r"(filename=)[^;]+"))
