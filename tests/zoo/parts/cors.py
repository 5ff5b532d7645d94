"""Grants for the origins in ``CORS_ORIGINS``, as the Fetch standard has it; none without."""

from __future__ import annotations

import os

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty

_METHODS = "GET, HEAD, POST, PUT, DELETE"
_EXPOSED = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Location"


class Cors(Part):
    """Preflights, and a grant on every other response."""

    def __init__(self) -> None:
        self._origins = tuple(filter(None, os.environ.get("CORS_ORIGINS", "").split(",")))

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer a preflight."""
        fields = request.fields
        wanted = fields.get("access-control-request-method")
        if request.method != "OPTIONS" or wanted is None or not self._origins:
            return None
        if "authorization" not in fields and faulty("cor-5-wants-login"):
            raise Problem(401, "who are you?")
        request.facts["preflight"] = True
        response = Response(204)
        if faulty("cor-6-any-origin"):
            response.set("Access-Control-Allow-Origin", fields.get("origin", "*"))
            response.set("Access-Control-Allow-Credentials", "true")
        elif not self._grant(request, response):
            return response
        methods = _METHODS.removesuffix(", DELETE") if faulty("cor-5-lacks-delete") else _METHODS
        methods = wanted if faulty("cor-6-any-method") else methods
        names = "Authorization" if faulty("cor-5-lacks-content-type") else "Authorization, Content-Type"
        if faulty("cor-6-any-field"):
            names = fields.get("access-control-request-headers", names)
        response.set("Access-Control-Allow-Methods", methods)
        response.set("Access-Control-Allow-Headers", names)
        if not faulty("cor-7-none"):
            response.set("Access-Control-Max-Age", "10m" if faulty("cor-7-words") else "600")
        return response

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Grant an allowed origin, and say that the answer depends on it."""
        if faulty("cor-10-grants"):
            response.set("Access-Control-Allow-Origin", "*")
        if "preflight" in request.facts or not self._origins:
            return
        if response.status >= 500 and faulty("cor-8-bare-500"):
            return
        if response.status == 413 and faulty("cor-8-bare-413"):
            return
        granted = self._grant(request, response)
        if self._reflects(request, response):
            response.set("Access-Control-Allow-Origin", request.fields.get("origin", "null"))
            response.set("Access-Control-Allow-Credentials", "true")
        if not faulty("cor-4-no-vary") and (granted or not faulty("cor-4-only-when-granted")):
            varies = response.get("Vary")
            response.set("Vary", f"{varies}, Origin" if varies else "Origin")
        if granted and not faulty("cor-9-hidden"):
            response.set("Access-Control-Expose-Headers", _EXPOSED)
        if granted and faulty("cor-9-preflight-fields"):
            response.set("Access-Control-Allow-Methods", _METHODS)

    def _reflects(self, request: Request, response: Response) -> bool:
        return (
            (request.method == "POST" and response.status == 201 and faulty("cor-1-on-create"))
            or (request.method == "POST" and response.status in (400, 422) and faulty("cor-1-on-refusal"))
            or (request.method == "DELETE" and faulty("cor-1-on-delete"))
            or (request.path == "/livez" and faulty("cor-1-on-live"))
            or (self._is_read(request) and response.status == 200 and faulty("cor-1-on-read"))
        )

    def _is_read(self, request: Request) -> bool:
        return request.method == "GET" and request.path.startswith("/api/items/")

    def _grant(self, request: Request, response: Response) -> bool:
        origin = request.fields.get("origin", "")
        if faulty("cor-2-star"):
            response.set("Access-Control-Allow-Origin", "*")
            response.set("Access-Control-Allow-Credentials", "true")
            return True
        if not origin or not self._allowed(origin):
            return False
        response.set("Access-Control-Allow-Origin", f"{origin}/" if faulty("cor-3-slash") else origin)
        if faulty("cor-9-list"):
            response.set("Access-Control-Allow-Origin", ", ".join(self._origins))
        if faulty("cor-3-twice"):
            response.fields.append(("Access-Control-Allow-Origin", origin))
        if not faulty("cor-3-no-credentials"):
            said = "True" if faulty("cor-3-true") else "true"
            response.set("Access-Control-Allow-Credentials", said)
        return True

    def _allowed(self, origin: str) -> bool:
        if faulty("cor-1-reflects"):
            return True
        if origin == "null" and faulty("cor-1-null"):
            return True
        if faulty("cor-1-ends-with"):
            return any(origin.endswith(one.partition("://")[2]) for one in self._origins)
        if faulty("cor-1-begins-with"):
            return any(origin.startswith(one) for one in self._origins)
        return origin in self._origins
