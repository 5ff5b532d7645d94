// Fastify with a schema for what it takes.
const fastify = require('fastify')();
const items = new Map();
const body = {
  type: 'object',
  required: ['name', 'qty'],
  properties: { name: { type: 'string' }, qty: { type: 'integer' } },
};

fastify.get('/', async () => ({ ok: true }));
fastify.get('/slow', async () => {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  return { ok: true };
});
fastify.get('/fail', async () => { throw new Error('the item could not be counted'); });
fastify.post('/items', { schema: { body } }, async (request, reply) => {
  const item = { id: items.size + 1, name: request.body.name, qty: request.body.qty };
  items.set(item.id, item);
  return reply.code(201).send(item);
});
fastify.get('/items/:id', async (request, reply) => {
  const item = items.get(Number(request.params.id));
  return item ?? reply.code(404).send({ error: 'Not found' });
});
fastify.listen({ port: Number(process.env.PORT) });
