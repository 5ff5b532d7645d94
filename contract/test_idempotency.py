"""Idempotency-Key: a request repeated with the same key is carried out once."""

import pytest

from .api import CANARY, Api

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


@pytest.mark.row("POST /api/transfers")
def test_repeated_transfer(api: Api) -> None:
    """A repetition gets the first answer, where without a key it would be a conflict, and moves nothing."""
    giver, taker = api.user()["id"], api.user()["id"]
    body = {"from_user": giver, "to_user": taker, "post_ids": [api.post(giver)["id"]]}
    headers = {"Idempotency-Key": api.unique("key")}
    first = api.send("POST", "/api/transfers", json=body, headers=headers)
    assert api.accepted(first, 200, "TransferResult") == {"moved": 1}
    back = {"from_user": taker, "to_user": giver, "post_ids": body["post_ids"]}
    api.accepted(api.send("POST", "/api/transfers", json=back), 200, "TransferResult")
    again = api.send("POST", "/api/transfers", json=body, headers=headers)
    assert api.accepted(again, 200, "TransferResult") == {"moved": 1}
    assert len(api.send("GET", f"/api/users/{giver}/posts").json()["items"]) == 1


def test_answer_of_what_has_changed(api: Api) -> None:
    """A repetition gets the answer of then, not the state of now."""
    headers = {"Idempotency-Key": api.unique("key")}
    body = {"name": "Ada", "email": api.unique_email()}
    first = api.send("POST", "/api/users", json=body, headers=headers)
    assert api.send("DELETE", first.headers["Location"]).status_code == 204
    again = api.send("POST", "/api/users", json=body, headers=headers)
    assert api.accepted(again, 201, "User") == first.json()
    api.refused(api.send("GET", first.headers["Location"]), 404, "NOT_FOUND")


@pytest.mark.parametrize("round_", range(3))
def test_repeated_at_the_same_time(api: Api, round_: int) -> None:
    """Of eight equal requests at the same time one is carried out; the others get its answer or 409."""
    path = f"/api/users/{api.user()['id']}/posts"
    body = {"title": "Title", "body": "Body"}
    headers = {"Idempotency-Key": api.unique(f"key-{round_}")}
    answers = api.send_all("POST", path, [body] * 8, headers)
    for answer in answers:
        if answer.status_code == 409:
            told = answer.json()
            code = told["error"]["code"] if api.error_format == "envelope" else told["code"]
            api.refused(answer, 409, code)
        else:
            api.accepted(answer, 201, "Post")
    created = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(created) == 1
    assert [post["id"] for post in api.send("GET", path).json()["items"]] == list(created)
    assert api.send("POST", path, json=body, headers=headers).json()["id"] in created


def test_other_body(api: Api) -> None:
    """The same key with another body is 422, and creates nothing."""
    path = f"/api/users/{api.user()['id']}/posts"
    headers = {"Idempotency-Key": api.unique("key")}
    api.send("POST", path, json={"title": "Title", "body": "Body"}, headers=headers)
    answer = api.send("POST", path, json={"title": CANARY, "body": "Body"}, headers=headers)
    api.refused(answer, 422, "VALIDATION_ERROR")
    assert len(api.send("GET", path).json()["items"]) == 1


def test_other_path(api: Api) -> None:
    """The same key for another resource is 422, and creates nothing."""
    body = {"title": "Title", "body": "Body"}
    headers = {"Idempotency-Key": api.unique("key")}
    api.send("POST", f"/api/users/{api.user()['id']}/posts", json=body, headers=headers)
    other = f"/api/users/{api.user()['id']}/posts"
    api.refused(api.send("POST", other, json=body, headers=headers), 422, "VALIDATION_ERROR")
    assert api.send("GET", other).json()["items"] == []


def test_refusal_is_not_kept(api: Api) -> None:
    """A refused request has carried out nothing, so the corrected one may use its key."""
    headers = {"Idempotency-Key": api.unique("key")}
    email = api.unique_email()
    bad = api.send("POST", "/api/users", json={"name": "", "email": email}, headers=headers)
    api.invalid(bad, "/name")
    good = api.send("POST", "/api/users", json={"name": "Ada", "email": email}, headers=headers)
    api.accepted(good, 201, "User")


@pytest.mark.parametrize("key", ["k" * 256, "", "a b"], ids=["256 characters", "empty", "words"])
def test_bad_key(api: Api, key: str) -> None:
    """A key that is none is 422, and nothing is created."""
    path = f"/api/users/{api.user()['id']}/posts"
    answer = api.send("POST", path, json={"title": "Title", "body": ""}, headers={"Idempotency-Key": key})
    api.refused(answer, 422, "VALIDATION_ERROR")
    assert api.send("GET", path).json()["items"] == []


def test_longest_key(api: Api) -> None:
    """A key of 255 characters is one."""
    headers = {"Idempotency-Key": api.unique("key").ljust(255, "k")}
    body = {"name": "Ada", "email": api.unique_email()}
    first, again = (api.send("POST", "/api/users", json=body, headers=headers) for _ in range(2))
    assert api.accepted(again, 201, "User") == first.json()


def test_other_key(api: Api) -> None:
    """Another key is another request."""
    path = f"/api/users/{api.user()['id']}/posts"
    for _ in range(2):
        headers = {"Idempotency-Key": api.unique("key")}
        api.accepted(
            api.send("POST", path, json={"title": "Title", "body": ""}, headers=headers), 201, "Post"
        )
    assert len(api.send("GET", path).json()["items"]) == 2
