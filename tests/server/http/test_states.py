"""The tables of what a connection and a WebSocket do: every event has an answer in every state."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from roadworthy.server.http import connection, states
from roadworthy.server.http.limits import Limits
from roadworthy.server.websocket import connection as websocket
from roadworthy.server.websocket import states as websocket_states

ENDS: dict[states.State, int] = {"deaf": 0, "linger": 1, "closing": 2, "gone": 3}
"""States that a connection passes in this order only."""


@pytest.mark.parametrize(
    ("table", "event", "state"),
    [
        (states.TABLE, states.Event, states.State),
        (websocket_states.TABLE, websocket_states.Event, websocket_states.State),
    ],
    ids=["http", "websocket"],
)
def test_every_event_has_an_answer_in_every_state(
    table: dict[str, dict[str, tuple[str | None, str | None]]], event: object, state: object
) -> None:
    """Nothing that happens to a connection meets a state that does not know of it."""
    assert set(table) == set(get_args(event))
    for row in table.values():
        assert set(row) == set(get_args(state))
        assert {entered for entered, _ in row.values()} <= {*get_args(state), None}


@pytest.mark.parametrize(
    ("table", "actions", "of_data"),
    [
        (states.TABLE, connection.HttpProtocol._ACTIONS, {"feed", "keep", "discard"}),
        (websocket_states.TABLE, websocket.WebSocket._ACTIONS, {"take", "discard"}),
    ],
    ids=["http", "websocket"],
)
def test_every_action_is_carried_out(
    table: dict[str, dict[str, tuple[str | None, str | None]]], actions: dict[str, object], of_data: set[str]
) -> None:
    """The connection has a method for each word of the table, and none besides."""
    data = {action for _, action in table["data"].values()} - {None}
    others = {action for event in table if event != "data" for _, action in table[event].values()} - {None}
    assert data == of_data
    assert others == set(actions)


@pytest.mark.parametrize(("event", "state"), [*product(states.TABLE, ENDS)])
def test_no_event_leads_back_from_the_end(event: states.Event, state: states.State) -> None:
    """What comes late, the parser's news or an answer, does not make a connection read requests again."""
    entered, _ = states.TABLE[event][state]
    assert entered is None or ENDS[entered] >= ENDS[state]


@pytest.mark.parametrize("event", states.TABLE)
def test_nothing_is_done_on_a_lost_transport(event: states.Event) -> None:
    """A connection that is gone answers nothing, whatever its app goes on to do."""
    assert states.TABLE[event]["gone"] == (None, None)


@pytest.mark.parametrize("state", get_args(states.State))
def test_every_state_has_its_end(state: states.State) -> None:
    """Where there is a deadline something is done when it is over, and nowhere else."""
    seconds = states.seconds(Limits())[state]
    answer = states.TABLE["late"][state]
    assert (answer == (None, None)) == (seconds == float("inf"))


@pytest.mark.parametrize("state", [one for one in states.STATES if one not in ("closing", "gone")])
def test_every_connection_can_be_closed(state: states.State) -> None:
    """An app that fails within its response closes the connection, whatever it is at."""
    assert states.TABLE["over"][state] == ("closing", "close")
