// What stands between the marks is the guide's, as printed; README.md says what was added around it.
const Database = require('libsql');

const db = new Database('users.db');
db.exec('CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL)');
db.exec("INSERT OR IGNORE INTO users VALUES (1, 'Ada Lovelace', 'ada@example.org')");
const byId = db.prepare('SELECT id, name, email FROM users WHERE id = ?').raw();

const getUserService = {
  async findById(id) {
    const row = byId.get(id);
    return row && { id: row[0], name: row[1], email: row[2] };
  },
};

// >>> the guide: Fastify (Fast)
const fastify = require('fastify')();

fastify.get('/users/:id', async (request, reply) => {
  const user = await getUserService.findById(request.params.id);
  return user;
});
// <<<

fastify.listen({ port: Number(process.env.PORT || 3000) });
