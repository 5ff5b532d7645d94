"""Lists: pages in the order of ids, walked by cursor."""

from collections.abc import Iterator
from typing import Any

import pytest

from .api import CANARY, MISSING_ID, Api

_MOST_PAGES = 500


def _walk(api: Api, path: str, limit: int, schema: str) -> Iterator[list[dict[str, Any]]]:
    cursor: str | None = None
    last = 0
    for _ in range(_MOST_PAGES):
        params: dict[str, str | int] = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        page = api.accepted(api.send("GET", path, params=params), 200, schema)
        for item in page["items"]:
            assert item["id"] > last, "the list is not in the order of ids, or begins again"
            last = item["id"]
        yield page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return
    pytest.skip(f"the service holds more than {_MOST_PAGES} pages; walk one with fewer users")


@pytest.mark.row("GET /api/users/{id}/posts")
@pytest.mark.row("POST /api/users/{id}/posts")
@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (100, [5])])
def test_walk_posts(api: Api, limit: int, sizes: list[int]) -> None:
    """A walk meets every post once, in the order of ids, and the last page says that it is the last."""
    user = api.user()["id"]
    posts = [api.post(user, f"Post {number}") for number in range(5)]
    pages = list(_walk(api, f"/api/users/{user}/posts", limit, "PostList"))
    assert [len(page) for page in pages] == sizes
    assert [post for page in pages for post in page] == posts


@pytest.mark.row("GET /api/users")
def test_walk_users(api: Api) -> None:
    """A walk over all users meets each once, in the order of ids, among them those just created."""
    created = [api.user()["id"] for _ in range(3)]
    ids = {user["id"] for page in _walk(api, "/api/users", 100, "UserList") for user in page}
    assert set(created) <= ids


@pytest.mark.row("GET /api/users")
def test_default_limit(api: Api) -> None:
    """A page has 20 users when the client does not say how many."""
    for _ in range(21):
        api.user()
    page = api.accepted(api.send("GET", "/api/users"), 200, "UserList")
    assert len(page["items"]) == 20
    assert page["next_cursor"] is not None


@pytest.mark.row("GET /api/users")
@pytest.mark.row("DELETE /api/users/{id}")
def test_walk_survives_a_delete(api: Api) -> None:
    """A user deleted during a walk makes no other user appear twice or not at all (keyset, not offset)."""
    keep = [api.user()["id"] for _ in range(4)]
    gone = api.user()["id"]
    keep += [api.user()["id"] for _ in range(4)]
    seen: set[int] = set()
    for page in _walk(api, "/api/users", 100, "UserList"):
        if gone:
            assert api.send("DELETE", f"/api/users/{gone}").status_code == 204
            gone = 0
        seen |= {user["id"] for user in page}
    assert set(keep) <= seen


@pytest.mark.row("GET /api/users/{id}/posts")
def test_no_posts(api: Api) -> None:
    """A user without posts has one empty page."""
    answer = api.send("GET", f"/api/users/{api.user()['id']}/posts")
    assert api.accepted(answer, 200, "PostList") == {"items": [], "next_cursor": None}


@pytest.mark.row("GET /api/users/{id}/posts")
def test_posts_of_a_missing_user(api: Api) -> None:
    """The posts of a user that is not there are 404, not an empty list."""
    api.refused(api.send("GET", f"/api/users/{MISSING_ID}/posts"), 404, "NOT_FOUND")


@pytest.mark.row("GET /api/users/{id}/posts")
def test_posts_of_others_are_not_listed(api: Api) -> None:
    """A list has the posts of its own user only."""
    user, other = api.user()["id"], api.user()["id"]
    api.post(other)
    mine = api.post(user)
    api.post(other)
    page = api.accepted(api.send("GET", f"/api/users/{user}/posts"), 200, "PostList")
    assert page == {"items": [mine], "next_cursor": None}


@pytest.fixture(
    params=[
        pytest.param("users", marks=pytest.mark.row("GET /api/users")),
        pytest.param("posts", marks=pytest.mark.row("GET /api/users/{id}/posts")),
    ]
)
def path(request: pytest.FixtureRequest, api: Api) -> str:
    """Either list."""
    return "/api/users" if request.param == "users" else f"/api/users/{api.user()['id']}/posts"


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1.5", "1e1", "0x10", "", CANARY, "9" * 5000])
def test_bad_limit(api: Api, path: str, limit: str) -> None:
    """A limit that is not an integer in 1…100 is 422, never silently another one."""
    api.invalid(api.send("GET", path, params={"limit": limit}), "query/limit")


@pytest.mark.parametrize("cursor", ["", "!", "\0", CANARY, "é", "A" * 5000, "' OR 1=1 --"])
def test_bad_cursor(api: Api, path: str, cursor: str) -> None:
    """A cursor that the service never gave out is 422, never silently the first page."""
    api.invalid(api.send("GET", path, params={"cursor": cursor}), "query/cursor")


def test_bad_limit_and_cursor(api: Api, path: str) -> None:
    """Two bad parameters are two entries."""
    answer = api.send("GET", path, params={"limit": 0, "cursor": "!"})
    api.invalid(answer, "query/limit", "query/cursor")
