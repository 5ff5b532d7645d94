"""Wagtail: login, the editor with its assets, a page that is written and published, uploads, search."""

import base64

from ..application import Application
from ..visitor import Visitor

_TOKEN = "csrfmiddlewaretoken"
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def journey(visitor: Visitor) -> None:
    """Read the site, and edit it."""
    visitor.page("/")
    visitor.get("/admin/")
    visitor.form("/admin/login/?next=/admin/", _TOKEN, username="admin", password="right", next="/admin/")
    visitor.page("/admin/")
    visitor.page("/admin/pages/3/edit/")
    home = {
        "title": "A new home",
        "slug": "home",
        "action-publish": "action-publish",
        "comments-TOTAL_FORMS": "0",
    }
    home |= {"comments-INITIAL_FORMS": "0", "comments-MIN_NUM_FORMS": "0", "comments-MAX_NUM_FORMS": "0"}
    visitor.form("/admin/pages/3/edit/", _TOKEN, **home)
    visitor.get("/")
    visitor.form("/admin/images/add/", _TOKEN, title="dot", files={"file": ("dot.png", _PIXEL, "image/png")})
    visitor.form("/admin/documents/add/", _TOKEN, title="words", files={"file": ("w.txt", b"w" * 400_000)})
    visitor.get("/documents/1/w.txt")
    visitor.page("/admin/images/")
    visitor.get("/search/?query=home")
    visitor.get("/admin/api/main/pages/?child_of=1")
    visitor.get("/none/")


APPLICATION = Application(
    journey,
    prepare=(
        ("-m", "wagtail.bin.wagtail", "start", "mysite", "."),
        ("manage.py", "migrate"),
        ("manage.py", "createsuperuser", "--noinput", "--username", "admin", "--email", "a@x.example"),
    ),
    env={"DJANGO_SUPERUSER_PASSWORD": "right"},
    settings={"ENV": ("development", "the site that `wagtail start` makes has debug on; the start says so")},
    varies=(
        r'("CSRF_TOKEN": ")[^"]+',
        r"\b[A-Z][a-z]{2,8}\.? \d+, \d{4}, [^<\"]+",
        r"(\d+)(?:\xa0| )(?:second|minute)s?",
    ),
)
