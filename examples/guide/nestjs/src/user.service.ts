import { Injectable } from '@nestjs/common';
import Database from 'libsql';

@Injectable()
export class UserService {
  private readonly byId: Database.Statement;

  constructor() {
    const db = new Database('users.db');
    db.exec('CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL)');
    db.exec("INSERT OR IGNORE INTO users VALUES (1, 'Ada Lovelace', 'ada@example.org')");
    this.byId = db.prepare('SELECT id, name, email FROM users WHERE id = ?').raw();
  }

  async findById(id: string) {
    const row = this.byId.get(id) as [number, string, string] | undefined;
    return row && { id: row[0], name: row[1], email: row[2] };
  }
}
