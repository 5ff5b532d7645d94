"""The table of what a service with several workers does: no event leads back from its end."""

from __future__ import annotations

from typing import get_args

import pytest

from roadworthy.server.workers.states import TABLE, Event, State

STATES: tuple[State, ...] = get_args(State)
EVENTS: tuple[Event, ...] = get_args(Event)


def after(state: State, *events: Event) -> State:
    """Return the state after some events."""
    for event in events:
        state = TABLE.get((state, event), ("", state))[1]
    return state


@pytest.mark.parametrize("state", STATES)
def test_ctrl_c_ends_every_state(state: State) -> None:
    """Whatever a service is at, SIGINT closes it, and a second one kills what is left."""
    assert after(state, "interrupt") == "closing"
    assert TABLE["closing", "interrupt"] == ("kill", "closing")


@pytest.mark.parametrize("event", EVENTS)
def test_no_event_leads_back_from_the_end(event: Event) -> None:
    """A reload that settles late, or a SIGHUP, does not make a draining service serve again."""
    assert after("draining", event) in ("draining", "closing")
    assert after("closing", event) == "closing"


def test_a_second_sigterm_changes_nothing() -> None:
    """Impatient managers send it twice: neither the drain nor the close begins anew."""
    assert ("draining", "terminate") not in TABLE
    assert ("closing", "terminate") not in TABLE


@pytest.mark.parametrize("state", ["starting", "reloading"])
def test_sighup_is_never_lost(state: State) -> None:
    """Where a reload cannot begin it is remembered."""
    assert TABLE[state, "hangup"] == ("remember", state)
