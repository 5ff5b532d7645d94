"""Users: create, read, replace, delete."""

from typing import Any
from urllib.parse import urljoin

import pytest

from .api import CANARY, MISSING_ID, Api

LONGEST_EMAIL = f"{'x' * (254 - 36)}@{'y' * 31}.com"


@pytest.mark.row("POST /api/users")
def test_create(api: Api) -> None:
    """A new user comes back as it was sent, with an id and a time."""
    email = api.unique_email()
    user = api.accepted(api.send("POST", "/api/users", json={"name": "Ada", "email": email}), 201, "User")
    assert (user["name"], user["email"]) == ("Ada", email)


@pytest.mark.row("POST /api/users")
@pytest.mark.row("GET /api/users/{id}")
def test_location(api: Api) -> None:
    """Location leads to the new user, and reading it gives what creating it gave."""
    created = api.create_user()
    target = urljoin(f"{api.base_url}/api/users", created.headers["Location"])
    assert target == f"{api.base_url}/api/users/{created.json()['id']}"
    assert api.accepted(api.send("GET", target), 200, "User") == created.json()


@pytest.mark.row("POST /api/users")
def test_content_type_with_charset(api: Api) -> None:
    """A charset parameter, or capitals, do not make JSON something else."""
    body = f'{{"name": "Ada", "email": "{api.unique_email()}"}}'.encode()
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    api.accepted(api.send("POST", "/api/users", content=body, headers=headers), 201, "User")


@pytest.mark.row("POST /api/users")
@pytest.mark.row("PUT /api/users/{id}")
def test_email_is_lower_cased(api: Api) -> None:
    """An e-mail address is kept in lower case."""
    email = api.unique_email()
    created = api.send("POST", "/api/users", json={"name": "Ada", "email": email.upper()})
    user = api.accepted(created, 201, "User")
    assert user["email"] == email
    replaced = api.send("PUT", f"/api/users/{user['id']}", json={"name": "Ada", "email": f"B{email}"})
    assert api.accepted(replaced, 200, "User")["email"] == f"b{email}"


@pytest.mark.row("POST /api/users")
def test_email_taken(api: Api) -> None:
    """A second user with the same address, in whatever case, is refused with 409."""
    user = api.user()
    body = {"name": CANARY, "email": user["email"].upper()}
    api.refused(api.send("POST", "/api/users", json=body), 409, "EMAIL_TAKEN")


@pytest.mark.row("POST /api/users")
def test_email_taken_at_the_same_time(api: Api) -> None:
    """Of eight users created with one address at the same time exactly one is created."""
    body = {"name": "Ada", "email": api.unique_email()}
    answers = api.send_all("POST", "/api/users", [body] * 8)
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 7]


@pytest.mark.row("PUT /api/users/{id}")
def test_email_taken_on_replace(api: Api) -> None:
    """A user cannot take the address of another one, and nothing of the refused change stays."""
    first, second = api.user(), api.user()
    body = {"name": "Changed", "email": first["email"]}
    api.refused(api.send("PUT", f"/api/users/{second['id']}", json=body), 409, "EMAIL_TAKEN")
    assert api.send("GET", f"/api/users/{second['id']}").json() == second


@pytest.mark.row("PUT /api/users/{id}")
def test_replace(api: Api) -> None:
    """Replacing changes name and address, keeps id and time, and is read back."""
    user = api.user()
    email = api.unique_email()
    answer = api.send("PUT", f"/api/users/{user['id']}", json={"name": "Grace", "email": email})
    assert api.accepted(answer, 200, "User") == {**user, "name": "Grace", "email": email}
    assert api.send("GET", f"/api/users/{user['id']}").json() == answer.json()


@pytest.mark.row("PUT /api/users/{id}")
def test_replace_with_own_email(api: Api) -> None:
    """A user's own address is not taken."""
    user = api.user()
    body = {"name": "Grace", "email": user["email"]}
    api.accepted(api.send("PUT", f"/api/users/{user['id']}", json=body), 200, "User")


@pytest.mark.row("DELETE /api/users/{id}")
def test_delete(api: Api) -> None:
    """A deleted user is gone, for reading and for a second delete; 204 has no body."""
    path = f"/api/users/{api.user()['id']}"
    answer = api.send("DELETE", path)
    assert (answer.status_code, answer.content) == (204, b"")
    api.refused(api.send("GET", path), 404, "NOT_FOUND")
    api.refused(api.send("DELETE", path), 404, "NOT_FOUND")


@pytest.mark.row("DELETE /api/users/{id}")
@pytest.mark.row("GET /api/users/{id}/posts/{post_id}")
def test_delete_takes_the_posts_along(api: Api) -> None:
    """The posts of a deleted user are gone with the user, those of others stay."""
    user, other = api.user()["id"], api.user()["id"]
    post, kept = api.post(user)["id"], api.post(other)["id"]
    assert api.send("DELETE", f"/api/users/{user}").status_code == 204
    api.refused(api.send("GET", f"/api/users/{user}/posts/{post}"), 404, "NOT_FOUND")
    api.refused(api.send("GET", f"/api/users/{user}/posts"), 404, "NOT_FOUND")
    api.accepted(api.send("GET", f"/api/users/{other}/posts/{kept}"), 200, "Post")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("GET", marks=pytest.mark.row("GET /api/users/{id}")),
        pytest.param("PUT", marks=pytest.mark.row("PUT /api/users/{id}")),
        pytest.param("DELETE", marks=pytest.mark.row("DELETE /api/users/{id}")),
    ],
)
def test_missing_user(api: Api, method: str) -> None:
    """A user that is not there is 404."""
    body = {"name": CANARY, "email": api.unique_email()} if method == "PUT" else None
    api.refused(api.send(method, f"/api/users/{MISSING_ID}", json=body), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("GET", marks=pytest.mark.row("GET /api/users/{id}")),
        pytest.param("PUT", marks=pytest.mark.row("PUT /api/users/{id}")),
        pytest.param("DELETE", marks=pytest.mark.row("DELETE /api/users/{id}")),
    ],
)
@pytest.mark.parametrize(
    "id_",
    [
        "0",
        "-1",
        "1.5",
        "1e3",
        "0x10",
        "1_0",
        "%201",
        "%D9%A1",  # ARABIC-INDIC DIGIT ONE, which some readers of integers take for 1
        "9007199254740992",
        "18446744073709551617",  # 2^64 + 1, which is 1 where it wraps
        "9" * 5000,
        CANARY,
    ],
)
def test_bad_id(api: Api, method: str, id_: str) -> None:
    """An id that is not an integer in 1…2^53−1 is 422."""
    body = {"name": "Ada", "email": api.unique_email()} if method == "PUT" else None
    api.invalid(api.send(method, f"/api/users/{id_}", json=body), "path/id")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("POST", marks=pytest.mark.row("POST /api/users")),
        pytest.param("PUT", marks=pytest.mark.row("PUT /api/users/{id}")),
    ],
)
@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        pytest.param({"name": ...}, ["/name"], id="no name"),
        pytest.param({"email": ...}, ["/email"], id="no email"),
        pytest.param({"name": ..., "email": ...}, ["/name", "/email"], id="nothing"),
        pytest.param({"name": ""}, ["/name"], id="empty name"),
        pytest.param({"name": CANARY + "x" * 100}, ["/name"], id="long name"),
        pytest.param({"name": "x" * 101}, ["/name"], id="name of 101"),
        pytest.param({"name": None}, ["/name"], id="null name"),
        pytest.param({"name": 7}, ["/name"], id="number for a name"),
        pytest.param({"name": [CANARY]}, ["/name"], id="list for a name"),
        pytest.param({"name": {"first": CANARY}}, ["/name"], id="object for a name"),
        pytest.param({"email": ""}, ["/email"], id="empty email"),
        pytest.param({"email": CANARY}, ["/email"], id="email without @"),
        pytest.param({"email": f"{CANARY}@localhost"}, ["/email"], id="email without a dot"),
        pytest.param({"email": f"@{CANARY}.org"}, ["/email"], id="email without a local part"),
        pytest.param({"email": f"a b@{CANARY}.org"}, ["/email"], id="email with a space"),
        pytest.param({"email": f"a@b@{CANARY}.org"}, ["/email"], id="email with two @"),
        pytest.param({"email": f"a@{CANARY}.org\n"}, ["/email"], id="email with a line end"),
        pytest.param({"email": f"a\u00a0b@{CANARY}.org"}, ["/email"], id="email with a no-break space"),
        pytest.param({"email": f"x{LONGEST_EMAIL}"}, ["/email"], id="email of 255"),
        pytest.param({"email": False}, ["/email"], id="boolean for an email"),
        pytest.param({"role": CANARY}, ["/role"], id="unknown field"),
        pytest.param({"id": 1}, ["/id"], id="field that is not the client's"),
        pytest.param({"name": "", "email": CANARY}, ["/name", "/email"], id="both bad"),
        pytest.param({"name": "", "email": 1, "x": CANARY}, ["/name", "/email", "/x"], id="all bad"),
    ],
)
def test_bad_fields(api: Api, method: str, change: dict[str, Any], pointers: list[str]) -> None:
    """Every bad field has one entry that names it and repeats nothing."""
    path = "/api/users" if method == "POST" else f"/api/users/{api.user()['id']}"
    body = {"name": "Ada", "email": api.unique_email(), **change}
    body = {name: value for name, value in body.items() if value is not ...}
    api.invalid(api.send(method, path, json=body), *pointers)


@pytest.mark.row("POST /api/users")
@pytest.mark.parametrize("name", ["x", "x" * 100, "\U0001f600" * 100, "é" * 100])
def test_name_at_its_bounds(api: Api, name: str) -> None:
    """A name has 1 to 100 characters, counted as code points (JSON Schema 2020-12 validation §6.3.1)."""
    assert api.user(name)["name"] == name


@pytest.mark.row("POST /api/users")
def test_name_of_101_emoji(api: Api) -> None:
    """101 characters are too many, however they are encoded."""
    api.invalid(api.create_user("\U0001f600" * 101), "/name")


@pytest.mark.row("POST /api/users")
@pytest.mark.row("DELETE /api/users/{id}")
def test_email_at_its_bound(api: Api) -> None:
    """An e-mail address has up to 254 characters."""
    email = api.unique("x")[:32] + LONGEST_EMAIL[32:]
    user = api.accepted(api.send("POST", "/api/users", json={"name": "Ada", "email": email}), 201, "User")
    assert user["email"] == email
    assert len(email) == 254
