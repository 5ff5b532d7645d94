"""Idempotency-Key: a request repeated with the same key is carried out once."""

import pytest

from .api import Api

pytestmark = pytest.mark.row("Idempotency-Key")


def test_repeated_user(api: Api) -> None:
    """A repetition gets the first answer, not a conflict with itself."""
    headers = {"Idempotency-Key": api.unique("key")}
    body = {"name": "Ada", "email": api.unique_email()}
    first = api.send("POST", "/api/users", json=body, headers=headers)
    again = api.send("POST", "/api/users", json=body, headers=headers)
    assert api.accepted(again, 201, "User") == first.json()
    assert again.headers["Location"] == first.headers["Location"]


def test_repeated_post(api: Api) -> None:
    """A repetition creates no second post."""
    path = f"/api/users/{api.user()['id']}/posts"
    headers = {"Idempotency-Key": api.unique("key")}
    body = {"title": "Title", "body": "Body"}
    first = api.send("POST", path, json=body, headers=headers)
    again = api.send("POST", path, json=body, headers=headers)
    assert api.accepted(again, 201, "Post") == first.json()
    assert api.send("GET", path).json()["items"] == [first.json()]


def test_repeated_at_the_same_time(api: Api) -> None:
    """Of eight equal requests at the same time one is carried out; the others get its answer or 409."""
    path = f"/api/users/{api.user()['id']}/posts"
    body = {"title": "Title", "body": "Body"}
    answers = api.send_all("POST", path, [body] * 8, {"Idempotency-Key": api.unique("key")})
    assert {answer.status_code for answer in answers} <= {201, 409}
    created = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(created) == 1
    assert [post["id"] for post in api.send("GET", path).json()["items"]] == list(created)


def test_other_body(api: Api) -> None:
    """The same key with another body is a mistake of the client, and creates nothing."""
    path = f"/api/users/{api.user()['id']}/posts"
    headers = {"Idempotency-Key": api.unique("key")}
    api.send("POST", path, json={"title": "Title", "body": "Body"}, headers=headers)
    answer = api.send("POST", path, json={"title": "Other", "body": "Body"}, headers=headers)
    assert answer.status_code in (409, 422)
    assert len(api.send("GET", path).json()["items"]) == 1


def test_other_key(api: Api) -> None:
    """Another key is another request."""
    path = f"/api/users/{api.user()['id']}/posts"
    for _ in range(2):
        headers = {"Idempotency-Key": api.unique("key")}
        api.accepted(
            api.send("POST", path, json={"title": "Title", "body": ""}, headers=headers), 201, "Post"
        )
    assert len(api.send("GET", path).json()["items"]) == 2
