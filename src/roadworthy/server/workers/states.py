"""What may happen to a service with several workers, and when: one table, and nothing besides."""

from __future__ import annotations

from typing import Literal

__all__ = ("TABLE", "Action", "Event", "State")

State = Literal["starting", "serving", "reloading", "draining", "closing"]
Event = Literal["up", "failed", "settled", "hangup", "terminate", "interrupt", "due"]
"""``up``: all workers are ready; ``failed``: they do not come up; ``settled``: a reload is over; ``hangup``,
``terminate`` and ``interrupt``: the signals; ``due``: the time of the state is over."""
Action = Literal["announce", "remember", "reload", "settle", "drain", "close", "kill", "cut"]

TABLE: dict[tuple[State, Event], tuple[Action, State]] = {
    ("starting", "up"): ("announce", "serving"),
    ("starting", "failed"): ("close", "closing"),
    ("starting", "hangup"): ("remember", "starting"),
    ("serving", "hangup"): ("reload", "reloading"),
    ("reloading", "hangup"): ("remember", "reloading"),
    ("reloading", "settled"): ("settle", "serving"),
    ("starting", "terminate"): ("close", "closing"),
    ("serving", "terminate"): ("drain", "draining"),
    ("reloading", "terminate"): ("drain", "draining"),
    ("starting", "interrupt"): ("close", "closing"),
    ("serving", "interrupt"): ("close", "closing"),
    ("reloading", "interrupt"): ("close", "closing"),
    ("draining", "interrupt"): ("close", "closing"),
    ("draining", "due"): ("close", "closing"),
    ("closing", "interrupt"): ("kill", "closing"),
    ("closing", "due"): ("cut", "closing"),
}
"""What is done and what state comes then; an event that is not here changes nothing."""
