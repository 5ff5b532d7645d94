package main

import (
	"database/sql"

	_ "github.com/mattn/go-sqlite3"
)

// users is what the guide's code calls db: SQLite behind one method.
type users struct{ pool *sql.DB }

var db = open("users.db")

func open(file string) users {
	pool, err := sql.Open("sqlite3", file)
	if err == nil {
		_, err = pool.Exec(`CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL);
			INSERT OR IGNORE INTO users VALUES (1, 'Ada Lovelace', 'ada@example.org')`)
	}
	if err != nil {
		panic(err)
	}
	return users{pool}
}

func (u users) GetUser(id string) (User, error) {
	var user User
	row := u.pool.QueryRow("SELECT id, name, email FROM users WHERE id = ?", id)
	return user, row.Scan(&user.ID, &user.Name, &user.Email)
}
