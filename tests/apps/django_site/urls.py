"""URLs of the site."""

from django.contrib import admin  # type: ignore[import-untyped]
from django.urls import include, path, re_path  # type: ignore[import-untyped]

from tests.apps.django_site import views

nested = [path("<int:item_id>/", views.item), re_path(r"^year/(?P<year>[0-9]{4})/$", views.year)]

urlpatterns = [
    path("admin/", admin.site.urls),
    path("items", views.Items.as_view()),
    path("items/<int:item_id>", views.item),
    path("nested/", include(nested)),
    path("ok", views.ok),
    path("limited", views.ok),
    path("fail", views.fail),
    path("fail-sync", views.fail_sync),
    path("conflict", views.conflict),
    path("stream", views.stream),
    path("events", views.events),
    path("file", views.file),
    path("page", views.page),
]
