"""Concurrent reads, all-or-nothing changes, work off the request thread."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .api import CANARY, MISSING_ID, Api

OVERVIEW = pytest.mark.row("GET /api/users/{id}/overview")
BATCH = pytest.mark.row("POST /api/users/batch")
TRANSFERS = pytest.mark.row("POST /api/transfers")
PRIMES = pytest.mark.row("GET /api/primes/{n}")


@OVERVIEW
def test_overview(api: Api) -> None:
    """An overview has the user and the user's posts in the order of their ids."""
    user = api.user()
    posts = [api.post(user["id"], f"Post {number}") for number in range(3)]
    answer = api.send("GET", f"/api/users/{user['id']}/overview")
    assert api.accepted(answer, 200, "Overview") == {"user": user, "posts": posts}


@OVERVIEW
def test_overview_without_posts(api: Api) -> None:
    """A user without posts has an overview."""
    user = api.user()
    answer = api.send("GET", f"/api/users/{user['id']}/overview")
    assert api.accepted(answer, 200, "Overview") == {"user": user, "posts": []}


@OVERVIEW
def test_overview_of_a_missing_user(api: Api) -> None:
    """The overview of a user that is not there is 404."""
    api.refused(api.send("GET", f"/api/users/{MISSING_ID}/overview"), 404, "NOT_FOUND")
    api.invalid(api.send("GET", f"/api/users/{CANARY}/overview"), "path/id")


@BATCH
def test_batch(api: Api) -> None:
    """A batch answers in the order asked, with null for a user that is not there, repeats included."""
    first, second = api.user(), api.user()
    ids = [second["id"], MISSING_ID, first["id"], second["id"]]
    answer = api.send("POST", "/api/users/batch", json={"ids": ids})
    assert api.accepted(answer, 200, "BatchResult")["items"] == [second, None, first, second]


@BATCH
@pytest.mark.parametrize("count", [0, 1000])
def test_batch_at_its_bounds(api: Api, count: int) -> None:
    """A batch has up to 1000 ids."""
    user = api.user()
    answer = api.send("POST", "/api/users/batch", json={"ids": [user["id"]] * count})
    assert api.accepted(answer, 200, "BatchResult")["items"] == [user] * count


@BATCH
@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        pytest.param({}, ["/ids"], id="no ids"),
        pytest.param({"ids": [1] * 1001}, ["/ids"], id="1001 ids"),
        pytest.param({"ids": CANARY}, ["/ids"], id="no list"),
        pytest.param({"ids": [1, 0, -1]}, ["/ids/1", "/ids/2"], id="no ids in it"),
        pytest.param({"ids": [CANARY]}, ["/ids/0"], id="text"),
        pytest.param({"ids": ["1"]}, ["/ids/0"], id="digits"),
        pytest.param({"ids": [1.5]}, ["/ids/0"], id="fraction"),
        pytest.param({"ids": [True]}, ["/ids/0"], id="boolean"),
        pytest.param({"ids": [2**53]}, ["/ids/0"], id="too large"),
        pytest.param({"ids": [], "x": CANARY}, ["/x"], id="unknown field"),
    ],
)
def test_bad_batch(api: Api, body: dict[str, Any], pointers: list[str]) -> None:
    """Every bad id has one entry that names its place and repeats nothing."""
    api.invalid(api.send("POST", "/api/users/batch", json=body), *pointers)


def _transfer(giver: int, taker: int, posts: list[int]) -> dict[str, Any]:
    return {"from_user": giver, "to_user": taker, "post_ids": posts}


def _titles(api: Api, user: int) -> set[str]:
    return {post["title"] for post in api.send("GET", f"/api/users/{user}/posts").json()["items"]}


@TRANSFERS
def test_transfer(api: Api) -> None:
    """All posts named are moved, the others stay."""
    giver, taker = api.user()["id"], api.user()["id"]
    posts = [api.post(giver, title)["id"] for title in ("a", "b", "c")]
    answer = api.send("POST", "/api/transfers", json=_transfer(giver, taker, posts[:2]))
    assert api.accepted(answer, 200, "TransferResult") == {"moved": 2}
    assert (_titles(api, giver), _titles(api, taker)) == ({"c"}, {"a", "b"})


@TRANSFERS
def test_transfer_of_what_is_not_owned(api: Api) -> None:
    """One post of somebody else in the list, and nothing moves: 409."""
    giver, taker, other = api.user()["id"], api.user()["id"], api.user()["id"]
    posts = [api.post(giver, "mine")["id"], api.post(other, "theirs")["id"]]
    answer = api.send("POST", "/api/transfers", json=_transfer(giver, taker, posts))
    api.refused(answer, 409, "NOT_OWNER")
    assert (_titles(api, giver), _titles(api, taker), _titles(api, other)) == ({"mine"}, set(), {"theirs"})


@TRANSFERS
@pytest.mark.parametrize("missing", ["giver", "taker", "post"])
def test_transfer_of_what_is_missing(api: Api, missing: str) -> None:
    """A user or a post that is not there is 404, and nothing moves."""
    giver, taker = api.user()["id"], api.user()["id"]
    posts = [api.post(giver, "mine")["id"]]
    body = _transfer(
        MISSING_ID if missing == "giver" else giver,
        MISSING_ID if missing == "taker" else taker,
        [*posts, MISSING_ID] if missing == "post" else posts,
    )
    api.refused(api.send("POST", "/api/transfers", json=body), 404, "NOT_FOUND")
    assert (_titles(api, giver), _titles(api, taker)) == ({"mine"}, set())


@TRANSFERS
def test_transfer_at_the_same_time(api: Api) -> None:
    """Of eight transfers of one post to eight users at the same time one is done, the others are 409."""
    giver, takers = api.user()["id"], [api.user()["id"] for _ in range(8)]
    post = api.post(giver)["id"]
    answers = api.send_all("POST", "/api/transfers", [_transfer(giver, taker, [post]) for taker in takers])
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 7]
    assert sum(len(_titles(api, taker)) for taker in takers) == 1


@TRANSFERS
@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        pytest.param({"from_user": ...}, ["/from_user"], id="no giver"),
        pytest.param({"to_user": CANARY}, ["/to_user"], id="text for a user"),
        pytest.param({"post_ids": 1}, ["/post_ids"], id="no list"),
        pytest.param({"post_ids": [0]}, ["/post_ids/0"], id="no id"),
        pytest.param({"x": CANARY}, ["/x"], id="unknown field"),
    ],
)
def test_bad_transfer(api: Api, change: dict[str, Any], pointers: list[str]) -> None:
    """Every bad field has one entry that names it and repeats nothing."""
    body = {**_transfer(1, 2, []), **change}
    body = {name: value for name, value in body.items() if value is not ...}
    api.invalid(api.send("POST", "/api/transfers", json=body), *pointers)


@PRIMES
@pytest.mark.parametrize(
    ("n", "count"), [(2, 1), (10, 4), (100, 25), (1_000_000, 78_498), (5_000_000, 348_513)]
)
def test_primes(api: Api, n: int, count: int) -> None:
    """The count is right."""
    assert api.accepted(api.send("GET", f"/api/primes/{n}"), 200, "Primes") == {"n": n, "count": count}


@PRIMES
@pytest.mark.parametrize("n", ["5000001", "-1", "1.5", "1e3", "9" * 5000, CANARY])
def test_bad_n(api: Api, n: str) -> None:
    """A number above 5,000,000, or none, is 422."""
    api.invalid(api.send("GET", f"/api/primes/{n}"), "path/n")


@PRIMES
def test_primes_do_not_hold_up_others(api: Api) -> None:
    """While primes are counted, other requests are answered; too many counts are 503 with Retry-After."""
    with ThreadPoolExecutor(16) as pool:
        counts = [pool.submit(api.send, "GET", "/api/primes/5000000") for _ in range(16)]
        while not all(count.done() for count in counts):
            answer = api.send("GET", "/livez")
            assert answer.status_code == 200
            assert answer.elapsed.total_seconds() < 5
    answers = [count.result() for count in counts]
    assert any(answer.status_code == 200 for answer in answers)
    for answer in answers:
        if answer.status_code == 504:  # on a machine that is busy a count takes longer than its deadline
            api.refused(answer, 504, "TIMEOUT")
        elif answer.status_code != 200:
            api.refused(answer, 503, "UNAVAILABLE")
            assert int(answer.headers["Retry-After"]) >= 1
