"""URLs of the service of :mod:`tests.layer.route_apps` in Django."""

from collections.abc import Callable
from typing import Any

from django.urls import include, path, re_path  # type: ignore[import-untyped]

urlpatterns: list[Any] = []


def fill(view: Callable[[str], Any], blocking: Callable[[str], Any]) -> None:
    """Put in the views of one service."""
    urlpatterns[:] = [
        path("login", view("login")),
        path("users/me", view("me")),
        path("users/<str:id>", blocking("user")),
        re_path(r"^files/(?P<path>.*)$", view("files")),
        path("free", view("free")),
        path("sub/", include([path("inner", blocking("inner"))])),
        path("a/", include([path("b/", include([path("deep", view("deep"))]))])),
    ]
