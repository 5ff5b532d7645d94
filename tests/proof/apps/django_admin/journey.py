"""Django's admin: login with CSRF, forms, an upload, a download, search, an action, an event stream."""

from ..application import Application
from ..visitor import Visitor

_TOKEN = "csrfmiddlewaretoken"


def journey(visitor: Visitor) -> None:
    """Log in, and keep a shop."""
    visitor.get("/admin")
    visitor.get("/admin/")
    visitor.post("/admin/login/", data={"username": "admin", "password": "right"})
    visitor.form("/admin/login/", _TOKEN, username="admin", password="wrong")
    visitor.form("/admin/login/?next=/admin/", _TOKEN, username="admin", password="right")
    visitor.page("/admin/")
    picture = {"picture": ("a.png", b"\x89PNG" + b"x" * 200_000, "image/png")}
    visitor.form("/admin/shop/thing/add/", _TOKEN, name="lamp", files=picture, _save="Save")
    visitor.form("/admin/shop/thing/add/", _TOKEN, name="", _save="Save")
    visitor.page("/admin/shop/thing/?q=lamp")
    visitor.page("/admin/shop/thing/1/change/")
    visitor.get("/media/pictures/a.png")
    visitor.get("/media/pictures/none.png")
    visitor.get("/admin/jsi18n/")
    visitor.form(
        "/admin/shop/thing/",
        _TOKEN,
        action="delete_selected",
        _selected_action="1",
        select_across="0",
        index="0",
    )
    visitor.stream("/events/", lambda line: line == "data: 20")
    visitor.get("/none/")
    visitor.form("/admin/", _TOKEN, to="/admin/logout/")
    visitor.get("/admin/shop/thing/")


APPLICATION = Application(
    journey,
    prepare=(
        ("manage.py", "migrate"),
        ("manage.py", "createsuperuser", "--noinput", "--username", "admin", "--email", "a@x.example"),
    ),
    env={"DJANGO_SUPERUSER_PASSWORD": "right"},
    varies=(r"\b[A-Z][a-z]{2,8}\.? \d+, \d{4}, [^<\"]+",),
)
