"""What a probe asks about: resources that the check creates, declared routes, records and metrics."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ControlFailed
from ..http.fields import location_of, path_in
from ..http.wire import Answer
from ..manifest.routes import Route
from ..read.exposition import Sample, read_exposition
from ..read.records import Record, records
from ..service.target import Target
from .bodies import found_id, fresh
from .client import Client

__all__ = ("Created", "Resources")

_unique = itertools.count(1)
_ERROR = 40
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Created:
    """A resource that the check created.

    Parameters:
        path: where it is read, with the id filled in; empty when no route reads.
        sent: the JSON that was sent.
    """

    id: str
    path: str
    sent: Any
    answer: Answer


class Resources(Client):
    """The routes and resources of the service, and what it writes about them."""

    async def call(self, route: Route, identifier: str = "", **options: Any) -> Answer:
        """Send the request of a declared route, with its fields and a fresh copy of its body.

        Parameters:
            identifier: what stands for ``{id}``; by default the declared id, else ``0``.
        """
        body = self.fresh(route.body) if route.body is not None else None
        headers = {**route.headers, **dict(options.pop("headers", {}))}
        path = route.path.replace("{id}", identifier or route.literal or "0")
        if "{canary}" in path:
            path = path.replace("{canary}", self.canary(f"the exception of {route}"))
        return await self.request(route.method, path, headers, json_body=body, **options)

    def unique(self) -> str:
        """Return letters and digits that were never used before."""
        return f"{self.stage.context.marker}{next(_unique):x}{secrets.token_hex(3)}"

    def unknown_path(self) -> str:
        """Return a path below the API's base that no service has."""
        return f"{self.base}/{secrets.token_hex(16)}"

    @property
    def base(self) -> str:
        """The path that the API's routes have in common, without a slash at its end; may be empty."""
        if self.manifest.base:
            return self.manifest.base
        route = next((self.manifest.routes.by_role.get(role) for role in ("list", "create", "read")), None)
        first = route.path.split("/")[1] if route else ""
        return f"/{first}" if first == "api" or re.fullmatch(r"v\d+", first) else ""

    def fresh(self, body: Any) -> Any:
        """Return a copy of a declared body in which ``{unique}`` and ``{number}`` are something new."""
        return fresh(body, self.unique())

    async def create(self, changes: Mapping[str, Any] | None = None, **options: Any) -> Created:
        """Create a resource through ``routes.create`` and return it.

        Parameters:
            changes: members to set in the body.

        Raises:
            ControlFailed: there is no such route, or the valid request was refused: nothing can be judged
                then.
        """
        route = self.manifest.routes.by_role.get("create")
        if route is None:
            raise ControlFailed("nothing can be created without routes.create", ("routes.create",))
        sent = self.fresh(route.body)
        if changes:
            sent = {**sent, **changes}
        headers = {**route.headers, **dict(options.pop("headers", {}))}
        asked = self.now()
        answer = await self.request(route.method, route.path, headers, json_body=sent, **options)
        if not answer.ok:
            why = await self._complaint(asked, options.get("target")) if answer.status >= 500 else ""
            raise ControlFailed(f"the valid body of routes.create was answered {answer}{why}")
        return Created(found_id(answer, route.id), self.path_of(answer), sent, answer)

    async def _complaint(self, since: float, target: Target | None) -> str:
        """Return what the service wrote about a request that failed in it, for the reason of a verdict."""
        if self.url_mode:
            return ""
        process, found = (target or self.target).process, ""

        def wrote() -> bool:
            nonlocal found
            failed = [record for record in self.records(since, target) if record.rank >= _ERROR]
            texts = [str(record.get("error") or record.get("message") or "").strip() for record in failed]
            found = next((text.splitlines()[-1][:_LONGEST] for text in texts if text), "")
            return bool(found)

        await process.wait_until(wrote, self.patience(1.0))
        return f"; it wrote: {found}" if found else ""

    def path_of(self, answer: Answer) -> str:
        """Return where the resource is read that an answer of routes.create speaks of; empty if nowhere."""
        create, read = self.manifest.routes.by_role.get("create"), self.manifest.routes.by_role.get("read")
        identifier = found_id(answer, create.id) if create else ""
        if read and identifier:
            return read.path.replace("{id}", identifier)
        url = location_of(answer)
        return path_in(url) if url else ""

    async def readable(self) -> str:
        """Return the path of a resource that can be read: the declared one, else one created for it.

        Raises:
            ControlFailed: there is neither.
        """
        read = self.manifest.routes.by_role.get("read")
        if read is not None and read.literal:
            return read.path.replace("{id}", read.literal)
        created = await self.create()
        if not created.path:
            raise ControlFailed("nothing can be read back without routes.read", ("routes.read",))
        return created.path

    def records(self, since: float = 0.0, target: Target | None = None) -> list[Record]:
        """Return the JSON records that the service has written since a monotonic time."""
        return records((target or self.target).process.lines, since, self.manifest.logs.format)

    async def wait_records(
        self, wanted: Callable[[list[Record]], bool], since: float, seconds: float = 2.0
    ) -> list[Record]:
        """Wait until ``wanted`` holds for the records since then; return them, also when it never did."""
        process = self.target.process
        await process.wait_until(lambda: wanted(self.records(since)), self.patience(seconds))
        return self.records(since)

    async def scrape(self) -> dict[Sample, float]:
        """Return the samples of the metrics endpoint.

        Raises:
            ControlFailed: it does not answer with 200.
        """
        answer = await self.request(
            "GET", self.manifest.metrics.path, address=self.target.metrics_address, patient=False
        )
        if answer.status != 200:
            raise ControlFailed(f"the metrics endpoint answered {answer}")
        return read_exposition(answer.body, answer.media_type).samples

    def canary(self, place: str) -> str:
        """Return a secret to plant; reports show its place instead of it."""
        return self.stage.context.masker.canary(place)

    def leaks(self, text: str) -> list[str]:
        """Return where the secrets come from that stand in a text: canaries, and secrets that were given."""
        return self.stage.context.masker.find(text)
