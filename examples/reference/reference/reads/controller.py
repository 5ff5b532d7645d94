"""The routes of what is read together."""

from fastapi import APIRouter

from ..fields import UserId
from .dto import Batch, BatchResult, Overview
from .service import ReadService

__all__ = ("ReadController",)


class ReadController:
    """Overview and batch. ``router`` is what the application includes."""

    def __init__(self, reads: ReadService) -> None:
        self._reads = reads
        self.router = APIRouter(prefix="/api/users", tags=["patterns"])
        self.router.get("/{id}/overview")(self.get_overview)
        self.router.post("/batch")(self.batch_users)

    async def get_overview(self, user_id: UserId) -> Overview:
        """Return a user and the user's posts, both fetched at the same time."""
        return await self._reads.overview(user_id)

    async def batch_users(self, asked: Batch) -> BatchResult:
        """Return many users, fetched concurrently with a bound."""
        return await self._reads.batch(asked)
