"""Views of the site."""

import asyncio
import json
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # type: ignore[import-untyped]
from django.utils.decorators import method_decorator  # type: ignore[import-untyped]
from django.views import View  # type: ignore[import-untyped]
from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]

from roadworthy import ConflictError, FieldError, NotFoundError, ValidationError, wait_for_drain
from tests.apps.common import BIG_LIST, CANARY, EVENTS, FILE_TEXT, TEXT_CHUNKS


@method_decorator(csrf_exempt, name="dispatch")
class Items(View):  # type: ignore[misc]
    async def get(self, request: HttpRequest) -> HttpResponse:
        """Return everything."""
        return JsonResponse(BIG_LIST, safe=False)

    async def post(self, request: HttpRequest) -> HttpResponse:
        """Make one item."""
        document = json.loads(request.body)
        if not isinstance(document, dict) or "name" not in document:
            raise ValidationError(errors=[FieldError("/name", "Field required", "missing")])
        return JsonResponse({"name": document["name"]}, status=201)


async def item(request: HttpRequest, item_id: int) -> HttpResponse:
    """Return one item."""
    if item_id >= 1000:
        raise NotFoundError(f"No item {item_id}")
    return JsonResponse({"id": item_id})


async def year(request: HttpRequest, year: str) -> HttpResponse:
    """Return a year."""
    return JsonResponse({"year": year})


async def ok(request: HttpRequest) -> HttpResponse:
    """Answer."""
    return JsonResponse({"ok": True})


async def fail(request: HttpRequest) -> HttpResponse:
    """Fail without a handler."""
    raise RuntimeError(CANARY)


def fail_sync(request: HttpRequest) -> HttpResponse:
    """Fail in a thread."""
    raise RuntimeError(CANARY)


async def conflict(request: HttpRequest) -> HttpResponse:
    """Raise one of the layer's errors."""
    raise ConflictError("The name is taken")


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Return chunks of text."""

    async def chunks() -> AsyncIterator[str]:
        for chunk in TEXT_CHUNKS:
            yield chunk
            await asyncio.sleep(0)

    return StreamingHttpResponse(chunks(), content_type="text/plain")


async def events(request: HttpRequest) -> StreamingHttpResponse:
    """Send two events, and a last one when the process drains."""

    async def chunks() -> AsyncIterator[str]:
        for event in EVENTS:
            yield event
        await wait_for_drain()
        yield "data: draining\n\n"

    return StreamingHttpResponse(chunks(), content_type="text/event-stream")


async def file(request: HttpRequest) -> HttpResponse:
    """Return a file's text."""
    return HttpResponse(FILE_TEXT, content_type="text/x-python")


async def page(request: HttpRequest) -> HttpResponse:
    """Return HTML."""
    return HttpResponse("<!doctype html><script>1</script><h1>Hello</h1>")
