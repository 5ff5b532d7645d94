// What stands between the marks is the guide's, as printed; README.md says what was added around it.
const Database = require('libsql');

const logger = console;
const db = new Database('users.db');
db.exec('CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL)');
db.exec("INSERT OR IGNORE INTO users VALUES (1, 'Ada Lovelace', 'ada@example.org')");
const byId = db.prepare('SELECT id, name, email FROM users WHERE id = ?').raw();

const User = {
  async findById(id) {
    const row = byId.get(id);
    return row && { id: row[0], name: row[1], email: row[2] };
  },
};

// >>> the guide: Express.js (Lightweight)
const express = require('express');
const app = express();

app.get('/api/users/:id', async (req, res) => {
  try {
    const user = await User.findById(req.params.id);
    if (!user) return res.status(404).json({ error: 'Not found' });
    res.json(user);
  } catch (error) {
    res.status(500).json({ error: error.message });
  }
});
// <<<

// >>> the guide: Centralized Error Handler
// Express example
app.use((err, req, res, next) => {
  const status = err.status || 500;
  const message = err.message || 'Internal Server Error';

  logger.error(err.message, {
    status,
    path: req.path,
    method: req.method,
    stack: err.stack
  });

  res.status(status).json({
    error: {
      code: err.code || 'INTERNAL_ERROR',
      message,
      ...(process.env.NODE_ENV === 'development' && { stack: err.stack })
    }
  });
});
// <<<

app.listen(process.env.PORT || 3000);
