"""starlette-admin: pages with many assets, its API, forms, actions, a download of nothing, errors."""

from ..application import Application
from ..visitor import Visitor


def journey(visitor: Visitor) -> None:
    """Look around, create, read by the API, delete."""
    visitor.page("/admin/")
    visitor.page("/admin/post/list")
    visitor.page("/admin/post/create")
    for title in ("one", "two"):
        visitor.post("/admin/post/create", data={"title": title})
    visitor.post("/admin/post/create", files={"title": ("a.txt", b"a file")})
    visitor.get("/admin/api/post?skip=0&limit=10&order_by=id%20desc&where=%7B%7D")
    visitor.page("/admin/post/detail/1")
    visitor.page("/admin/post/edit/1")
    visitor.post("/admin/post/edit/1", data={"title": "first"})
    visitor.get("/admin/api/post?pks=1")
    visitor.get("/admin/api/post/action?name=delete&pks=2")
    visitor.post("/admin/api/post/action?name=delete&pks=2")
    visitor.get("/admin/post/detail/77")
    visitor.get("/admin/none/list")


APPLICATION = Application(journey)
