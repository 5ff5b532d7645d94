"""What all connections of one listener share."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...settings import Settings
from ..websocket.crowd import Crowd
from .limits import Limits
from .refusals import RefusalEncoder
from .states import State, seconds
from .sweep import Sweep

__all__ = ("Shared",)


@dataclass(slots=True)
class Shared:
    """What all connections of one listener share.

    Parameters:
        limits: deadlines and limits.
        settings: where the limits come from; None when they were given one by one.
        sweep: finds connections whose deadline has passed.
        crowd: the WebSockets.
        refusals: encodes, records and counts what the server itself answers.

    Attributes:
        seconds: how long a connection stays in each state.
    """

    limits: Limits
    settings: Settings | None
    sweep: Sweep
    crowd: Crowd
    refusals: RefusalEncoder
    seconds: dict[State, float] = field(init=False)

    def __post_init__(self) -> None:
        self.seconds = seconds(self.limits)
