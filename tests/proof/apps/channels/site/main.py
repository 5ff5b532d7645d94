"""Django Channels: pages of Django, a chat room, an event stream by a consumer."""

import asyncio

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a secret of the proof, which is long enough to be no weak one",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.generic.http import AsyncHttpConsumer  # noqa: E402
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path, re_path  # noqa: E402


def index(request):
    return HttpResponse("a page")


class Room(AsyncJsonWebsocketConsumer):
    async def connect(self):
        if self.scope["url_route"]["kwargs"]["name"] == "closed":
            await self.close()
            return
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def receive_json(self, content):
        await self.channel_layer.group_send("room", {"type": "said", "words": content})

    async def said(self, event):
        await self.send_json(event["words"])


class Events(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_headers(headers=[(b"Content-Type", b"text/event-stream")])
        for number in range(1000):
            await self.send_body(f"data: {number}\n\n".encode(), more_body=True)
            await asyncio.sleep(0.01)
        await self.send_body(b"")


urlpatterns = [path("", index)]
_pages = get_asgi_application()
app = ProtocolTypeRouter(
    {
        "http": URLRouter([path("events/", Events.as_asgi()), re_path("", _pages)]),
        "websocket": AllowedHostsOriginValidator(URLRouter([path("ws/<str:name>/", Room.as_asgi())])),
    }
)
