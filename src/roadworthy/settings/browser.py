"""The settings of the response fields for browsers: names, transport, policies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .process import ProcessSettings
from .values import Ancestors, Duration, OpenerPolicy, Word, Words

__all__ = ("BrowserSettings",)


class BrowserSettings(ProcessSettings):
    """What the item security headers goes by."""

    allowed_hosts: Words = Field(
        default=(),
        description="Host names that are served (`api.example`, `*.example`), separated by commas; others "
        "get 421. Empty serves every name, because only the deployment knows its own.",
    )
    hsts: Duration = Field(
        default=31_536_000.0,
        description="Seconds of `Strict-Transport-Security: max-age`, sent over https only; 0 sends none. "
        "One year is the least that browsers' preload lists take.",
    )
    hsts_subdomains: bool = Field(
        default=True,
        description="Add `includeSubDomains`. On by default; turn it off where a subdomain still speaks "
        "plain http.",
    )
    csp: str = Field(
        default="default-src 'none'; frame-ancestors 'none'",
        description="`Content-Security-Policy` of API responses; empty sends none. The default allows "
        "nothing, which is all that JSON needs.",
    )
    csp_pages: str = Field(
        default="",
        description="`Content-Security-Policy` of pages (HTML), beside the `frame-ancestors` of "
        "`frame_ancestors`. Empty by default: only the app knows what its pages load.",
    )
    frame_ancestors: Ancestors = Field(
        default=("self",),
        description="Who may frame pages and files: `self` (pages of the same origin), origins "
        "(`https://app.example`), `none`, or `*` for everyone. `X-Frame-Options` says the same as far as it "
        "can. `self` by default: apps frame their own pages, and no other site can. JSON stays under `csp`.",
    )
    coop: Annotated[OpenerPolicy, Word] = Field(
        default="same-origin-allow-popups",
        description="`Cross-Origin-Opener-Policy` of pages; empty sends none. By default other sites get no "
        "hold of a page that they open, and the popups that a page opens itself (sign-in, payment) stay in "
        "touch with it.",
    )
    referrer_policy: str = Field(
        default="no-referrer",
        description="`Referrer-Policy`; empty sends none. The default gives no URL of the service to other "
        "sites.",
    )
