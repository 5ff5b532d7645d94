"""Seed data: the same everywhere, and never on top of something else."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reference.migrate import migrate
from reference.seed import SeedError, main, seed


def _url(path: Path) -> str:
    return f"sqlite:///{path}"


def _rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_same_on_each_run(tmp_path: Path) -> None:
    """Two databases seeded with the same numbers hold the same rows."""
    for name in ("a.db", "b.db"):
        seed(_url(tmp_path / name), users=7, posts=3)
    assert _rows(tmp_path / "a.db") == _rows(tmp_path / "b.db")


def test_rows(tmp_path: Path) -> None:
    """Ids count from 1, the posts of a user follow each other, times grow by a second."""
    seed(_url(tmp_path / "data.db"), users=3, posts=2)
    with closing(sqlite3.connect(tmp_path / "data.db")) as connection:
        users = connection.execute("SELECT * FROM users").fetchall()
        posts = connection.execute("SELECT id, user_id, title FROM posts").fetchall()
    assert users[2] == (3, "User 3", "user-3@example.com", "2026-01-01 00:00:02.000000")
    assert [(row[0], row[1]) for row in posts] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)]
    assert posts[3][2] == "Post 2 of user 2"


def test_new_users_follow(tmp_path: Path) -> None:
    """A user created later gets the next id."""
    seed(_url(tmp_path / "data.db"), users=3, posts=0)
    with closing(sqlite3.connect(tmp_path / "data.db")) as connection:
        connection.execute("INSERT INTO users (name, email, created_at) VALUES ('Ada', 'a@b.c', '')")
        assert connection.execute("SELECT max(id) FROM users").fetchone() == (4,)


def test_not_empty(tmp_path: Path) -> None:
    """A database with users in it is left as it is."""
    seed(_url(tmp_path / "data.db"), users=1, posts=1)
    before = _rows(tmp_path / "data.db")
    with pytest.raises(SeedError, match="holds users already"):
        seed(_url(tmp_path / "data.db"), users=5, posts=0)
    assert _rows(tmp_path / "data.db") == before


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command fills the database of DATABASE_URL, says what it did, and fails clearly the second time."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'data.db'}")
    assert main(["--users", "2", "--posts", "1"]) == 0
    assert capsys.readouterr().out == f"2 users with 1 posts each in {tmp_path / 'data.db'}\n"
    assert main(["--users", "2", "--posts", "1"]) == 1
    assert "holds users already" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["-1", "x", "1.5"])
def test_bad_count(count: str) -> None:
    """A count that is none ends the command with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(["--users", count, "--posts", "1"])
    assert caught.value.code == 2


def test_migrated_before(tmp_path: Path) -> None:
    """An empty database that was migrated before can be seeded."""
    migrate(_url(tmp_path / "data.db"))
    seed(_url(tmp_path / "data.db"), users=1, posts=0)
