// Express, written as a first example is: nothing is validated and nothing is handled.
const express = require('express');
const app = express();
const items = new Map();

app.use(express.json());
app.get('/', (req, res) => res.json({ ok: true }));
app.get('/slow', (req, res) => setTimeout(() => res.json({ ok: true }), 2000));
app.get('/fail', () => { throw new Error('the item could not be counted'); });
app.post('/items', (req, res) => {
  const item = { id: items.size + 1, name: req.body.name, qty: req.body.qty };
  items.set(item.id, item);
  res.status(201).json(item);
});
app.get('/items/:id', (req, res) => {
  const item = items.get(Number(req.params.id));
  item ? res.json(item) : res.status(404).json({ error: 'Not found' });
});
app.listen(process.env.PORT, '127.0.0.1');
