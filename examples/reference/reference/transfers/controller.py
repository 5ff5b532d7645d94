"""The route of transfers: one class, whose constructor receives the service."""

from fastapi import APIRouter

from ..fields import IDEMPOTENT
from .dto import Transfer, TransferResult
from .service import TransferService

__all__ = ("TransferController",)


class TransferController:
    """Transfers of posts. ``router`` is what the application includes."""

    def __init__(self, transfers: TransferService) -> None:
        self._transfers = transfers
        self.router = APIRouter(prefix="/api/transfers", tags=["patterns"])
        self.router.post("", dependencies=IDEMPOTENT)(self.transfer_posts)

    async def transfer_posts(self, order: Transfer) -> TransferResult:
        """Move posts from one user to another, all or none."""
        return await self._transfers.transfer(order)
