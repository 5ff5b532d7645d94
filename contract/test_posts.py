"""Posts: create and read."""

from typing import Any
from urllib.parse import urljoin

import pytest

from .api import CANARY, MISSING_ID, Api


@pytest.mark.row("POST /api/users/{id}/posts")
@pytest.mark.row("GET /api/users/{id}/posts/{post_id}")
def test_create_and_read(api: Api) -> None:
    """A new post comes back as it was sent, Location leads to it, and reading gives the same."""
    user = api.user()["id"]
    created = api.create_post(user, "Title", "Body")
    post = api.accepted(created, 201, "Post")
    assert (post["user_id"], post["title"], post["body"]) == (user, "Title", "Body")
    target = urljoin(f"{api.base_url}/api/users/{user}/posts", created.headers["Location"])
    assert target == f"{api.base_url}/api/users/{user}/posts/{post['id']}"
    assert api.accepted(api.send("GET", target), 200, "Post") == post


@pytest.mark.row("POST /api/users/{id}/posts")
@pytest.mark.parametrize(
    ("title", "body"),
    [("x", ""), ("x" * 200, "x" * 10_000), ("\U0001f600" * 200, "\U0001f600" * 10_000)],
    ids=["least", "most", "most emoji"],
)
def test_bounds(api: Api, title: str, body: str) -> None:
    """A title has 1 to 200 characters and a body up to 10,000, counted as code points."""
    post = api.post(api.user()["id"], title, body)
    assert (post["title"], post["body"]) == (title, body)


@pytest.mark.row("POST /api/users/{id}/posts")
@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        pytest.param({"title": ...}, ["/title"], id="no title"),
        pytest.param({"body": ...}, ["/body"], id="no body"),
        pytest.param({"title": ""}, ["/title"], id="empty title"),
        pytest.param({"title": CANARY + "x" * 200}, ["/title"], id="long title"),
        pytest.param({"body": CANARY + "x" * 10_000}, ["/body"], id="long body"),
        pytest.param({"body": None}, ["/body"], id="null body"),
        pytest.param({"title": 1, "body": [CANARY]}, ["/title", "/body"], id="wrong types"),
        pytest.param({"user_id": 1}, ["/user_id"], id="field that is not the client's"),
    ],
)
def test_bad_fields(api: Api, change: dict[str, Any], pointers: list[str]) -> None:
    """Every bad field has one entry that names it and repeats nothing."""
    body = {"title": "Title", "body": "Body", **change}
    body = {name: value for name, value in body.items() if value is not ...}
    api.invalid(api.send("POST", f"/api/users/{api.user()['id']}/posts", json=body), *pointers)


@pytest.mark.row("POST /api/users/{id}/posts")
def test_create_for_a_missing_user(api: Api) -> None:
    """A post of a user that is not there is 404."""
    api.refused(api.create_post(MISSING_ID, CANARY), 404, "NOT_FOUND")


@pytest.mark.row("GET /api/users/{id}/posts/{post_id}")
def test_missing_post(api: Api) -> None:
    """A post that is not there is 404, of a user who is there or not."""
    user = api.user()["id"]
    api.refused(api.send("GET", f"/api/users/{user}/posts/{MISSING_ID}"), 404, "NOT_FOUND")
    api.refused(api.send("GET", f"/api/users/{MISSING_ID}/posts/{MISSING_ID}"), 404, "NOT_FOUND")


@pytest.mark.row("GET /api/users/{id}/posts/{post_id}")
def test_post_of_another_user(api: Api) -> None:
    """A post is found only under its own user."""
    post = api.post(api.user()["id"])["id"]
    api.refused(api.send("GET", f"/api/users/{api.user()['id']}/posts/{post}"), 404, "NOT_FOUND")


@pytest.mark.row("GET /api/users/{id}/posts/{post_id}")
@pytest.mark.parametrize("post_id", ["0", "-1", "1.5", "0x10", "9007199254740992", "9" * 5000, CANARY])
def test_bad_post_id(api: Api, post_id: str) -> None:
    """A post id that is not an integer in 1…2^53−1 is 422."""
    api.invalid(api.send("GET", f"/api/users/{api.user()['id']}/posts/{post_id}"), "path/post_id")


@pytest.mark.row("GET /api/users/{id}/posts/{post_id}")
def test_both_ids_bad(api: Api) -> None:
    """Two bad ids are two entries."""
    api.invalid(api.send("GET", f"/api/users/0/posts/{CANARY}"), "path/id", "path/post_id")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("GET", marks=pytest.mark.row("GET /api/users/{id}/posts")),
        pytest.param("POST", marks=pytest.mark.row("POST /api/users/{id}/posts")),
    ],
)
def test_bad_user_id(api: Api, method: str) -> None:
    """A user id that is no id is 422 for the user's posts too."""
    body = {"title": "Title", "body": "Body"} if method == "POST" else None
    api.invalid(api.send(method, f"/api/users/{CANARY}/posts", json=body), "path/id")
