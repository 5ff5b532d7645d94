"""The admin, uploads, and an event stream."""

import asyncio

from django.conf import settings
from django.contrib import admin
from django.http import StreamingHttpResponse
from django.urls import path
from django.views.static import serve


async def events(request):
    async def made():
        for number in range(1000):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.01)

    return StreamingHttpResponse(made(), content_type="text/event-stream")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("events/", events),
    path("media/<path:path>", serve, {"document_root": settings.MEDIA_ROOT}),
]
