"""FastAPI's validation errors without an echo: its default handler repeats what was sent, passwords too.

It also answers 500 for input that JSON cannot carry back, NaN or a lone surrogate (fastapi/fastapi#459).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...errors import APIError, BadRequestError, UnsupportedMediaTypeError, ValidationError
from ._defaults import media_type
from ._protocol import ErrorFormat, exchange_of
from ._validation import MAX_ERRORS, field_errors

__all__ = ("answers_validation_errors", "is_malformed_json", "replace_validation_handler")


def _is_json(content_type: str) -> bool:
    kind = media_type(content_type)
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def is_malformed_json(error: Mapping[str, Any]) -> bool:
    """Return whether an entry of FastAPI's says that the body is no JSON; a field of it may hold JSON too."""
    return error.get("type") == "json_invalid" and error.get("msg") == "JSON decode error"


def _verdict(request: Request, exception: RequestValidationError) -> APIError:
    # A body of 1 MiB can have 500,000 errors; no more than these are reported.
    errors: list[Any] = list(exception.errors()[:MAX_ERRORS])
    of_body = [error for error in errors if tuple(error.get("loc", ()))[:1] == ("body",)]
    if any(is_malformed_json(error) for error in of_body):
        return BadRequestError("The request body is not valid JSON")
    # FastAPI hands a body that is not declared as JSON to the validator as bytes.
    if (
        of_body
        and isinstance(exception.body, bytes)
        and not _is_json(request.headers.get("content-type", ""))
    ):
        return UnsupportedMediaTypeError("This resource reads application/json")
    return ValidationError(errors=field_errors(errors))


def _stripped(exception: RequestValidationError) -> Response:
    kept: list[dict[str, object]] = []
    errors = exception.errors()[:MAX_ERRORS]
    for error, safe in zip(errors, field_errors(errors), strict=True):
        location = [part if isinstance(part, int) else str(part) for part in error.get("loc", ())]
        kept.append({"type": safe.code, "loc": location, "msg": safe.message})
    try:
        return JSONResponse({"detail": kept}, 422)
    except UnicodeEncodeError:
        return JSONResponse({"detail": [{**one, "loc": []} for one in kept]}, 422)


def answers_validation_errors(app: Starlette) -> bool:
    """Return whether ``app`` leaves its validation errors to FastAPI's handler or to that of this module."""
    handler = app.exception_handlers.get(RequestValidationError)
    return handler is request_validation_exception_handler or getattr(handler, "__module__", "") == __name__


def replace_validation_handler(app: Starlette, error_format: ErrorFormat) -> None:
    """Put a handler that echoes nothing where ``app`` still has FastAPI's default one."""
    if error_format == "framework":
        return
    if app.exception_handlers.get(RequestValidationError) is not request_validation_exception_handler:
        return

    async def refuse(request: Request, exception: RequestValidationError) -> Response:
        exchange = exchange_of(request.scope)
        if exchange is None or error_format == "app":
            return _stripped(exception)
        exchange.error = error = _verdict(request, exception)
        return Response(status_code=error.status)

    handlers: Any = app.exception_handlers
    handlers[RequestValidationError] = refuse
