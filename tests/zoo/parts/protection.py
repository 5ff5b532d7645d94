"""Security fields on every response, and a page with a cookie to have some that only pages need."""

from __future__ import annotations

from ..http import Request, Response
from ..service import Part, Zoo, faulty

_PAGE = b"<!doctype html><html lang=en><title>Items</title><script src=/items.js></script><p>Items</p></html>"
_PAGE_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Protection(Part):
    """``/api/page``, and the fields."""

    async def route(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer with the page; it sets a session."""
        if request.path != "/api/page":
            return None
        request.facts["route"] = "/api/page"
        response = Response(200, _PAGE, [("Content-Type", "text/html; charset=utf-8")])
        attributes = [
            "" if faulty("hdr-8-no-secure") else "; Secure",
            "" if faulty("hdr-8-no-http-only") else "; HttpOnly",
            "" if faulty("hdr-8-no-same-site") else "; SameSite=Lax",
        ]
        # A browser keeps no cookie of this prefix whose path is not the root.
        name, path = ("__Host-session_id", "/api") if faulty("hdr-8-host-prefix") else ("session_id", "/")
        response.set("Set-Cookie", f"{name}={request.id}; Path={path}{''.join(attributes)}")
        response.set("Cache-Control", "public, max-age=60" if faulty("hdr-6-page") else "no-store")
        if faulty("hdr-2-no-charset"):
            response.set("Content-Type", "text/html")
        if faulty("hdr-2-other-parameter"):
            response.set("Content-Type", "text/html; x-charset=utf-8")
        return response

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Add what a response of its kind has."""
        page = (response.get("Content-Type") or "").startswith("text/html")
        self._frames(response, page)
        if page and not faulty("hdr-9-none"):
            response.set("Referrer-Policy", "no-referrer")
            # The syntax of the older Feature-Policy, which browsers pass over.
            response.set("Permissions-Policy", "camera 'none'" if faulty("hdr-9-void") else "camera=()")
            response.set("Cross-Origin-Opener-Policy", "same-origin")
        secure = request.fields.get("x-forwarded-proto") == "https" and not faulty("hdr-5-none")
        if secure or faulty("hdr-5-plain"):
            age = "3600" if faulty("hdr-5-short") else "31536000"
            again = f"; max-age={age}" if faulty("hdr-5-void") else ""
            response.set("Strict-Transport-Security", f"max-age={age}; includeSubDomains{again}")
        if response.get("Cache-Control") is None and not faulty("hdr-6-unsaid"):
            kept = response.status < 400 and faulty("hdr-6-public")
            response.set("Cache-Control", "public, max-age=60" if kept else "no-store")
        self._types(response)
        if faulty("hdr-7-server"):
            response.set("Server", "zoo/2.1.4")
        if faulty("hdr-7-powered-by"):
            response.set("X-Powered-By", "Zoo")
        if faulty("hdr-10-xss"):
            response.set("X-XSS-Protection", "1; mode=block")
        if faulty("hdr-10-pins"):
            response.set("Public-Key-Pins", 'pin-sha256="AAAA"; max-age=60')
        if faulty("hdr-10-twice"):
            response.fields.append(("X-Frame-Options", "SAMEORIGIN"))

    def _frames(self, response: Response, page: bool) -> None:
        policy = _PAGE_POLICY if page else _DATA_POLICY
        if page and faulty("hdr-4-inline"):
            policy = policy.replace("'self'", "'self'; script-src 'self' 'unsafe-inline'")
        if page and faulty("hdr-4-same-nonce"):
            policy += "; script-src 'nonce-c2FtZSBhZ2Fpbg=='"
        if page and faulty("hdr-4-no-base"):
            policy = policy.replace("base-uri 'none'; ", "")
        if faulty("hdr-3-page" if page else "hdr-3-data"):
            policy = policy.replace("; frame-ancestors 'none'", "")
        else:
            response.set("X-Frame-Options", "DENY")
        if not (page and faulty("hdr-4-page")) and not (not page and faulty("hdr-4-data")):
            response.set("Content-Security-Policy", policy)

    def _types(self, response: Response) -> None:
        if response.status >= 400 and faulty("hdr-1-not-on-errors"):
            response.fields = [pair for pair in response.fields if pair[0] != "X-Content-Type-Options"]
        if faulty("hdr-1-misspelt"):
            response.set("X-Content-Type-Options", "no-sniff")
        if faulty("hdr-1-second"):
            response.set("X-Content-Type-Options", "sniff, nosniff")
        if response.status == 404 and faulty("hdr-2-none"):
            response.fields = [pair for pair in response.fields if pair[0] != "Content-Type"]
        if response.status == 404 and faulty("hdr-2-false"):
            response.set("Content-Type", "text/html; charset=utf-8")
