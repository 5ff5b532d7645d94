"use strict";
// When a fault of a mutant shows. The names are those of tests/zoo/conditions.py; a test compares them.

const LARGE = 16_384;
const LONG = 1024;

const methods = ["POST", "GET", "DELETE", "PUT", "HEAD", "OPTIONS"];
const routes = [
  ..."/api/items /api/items/{id} /api/users /api/users/{id} /livez /readyz /api/large /api/page".split(" "),
  ..."/api/users/{id}/posts /api/users/{id}/overview /api/fails /api/users/batch /api/transfers".split(" "),
  ..."/api/login /metrics".split(" "),
];

const field = (x, name) => x.fields[name] ?? "";
const has = (name, text) => (x) => field(x, name).toLowerCase().includes(text);
const status = (first, last) => (x) => x.reply !== undefined && first <= x.reply.status && x.reply.status <= last;
const size = (x) => x.reply?.body.length ?? 0;

/** Each takes an exchange, and tells whether it holds for that. */
const CONDITIONS = {
  ...Object.fromEntries(methods.map((name) => [`method=${name}`, (x) => x.method === name])),
  ...Object.fromEntries(routes.map((path) => [`route=${path}`, (x) => x.route === path || x.path === path])),
  "status=2xx": status(200, 299),
  "status=4xx": status(400, 499),
  "status=404": status(404, 404),
  "status=405": status(405, 405),
  "status=422": status(422, 422),
  "status=5xx": status(500, 599),
  "status=201": status(201, 201),
  "status=204": status(204, 204),
  "accept=html": has("accept", "text/html"),
  "accept=json": has("accept", "json"),
  "sent=charset": has("content-type", "charset"),
  "origin=second": has("origin", "//admin.example"),
  "origin=some": has("origin", "/"),
  "origin=null": has("origin", "null"),
  "origin=none": (x) => !field(x, "origin"),
  "connection=kept": (x) => x.number > 1,
  "connection=new": (x) => x.number === 1,
  "version=1.0": (x) => x.version === "1.0",
  "size=large": (x) => size(x) > LARGE,
  "size=long": (x) => x.body.length > LONG,
  "size=small": (x) => x.reply !== undefined && size(x) <= LARGE,
  "encoding=gzip": has("accept-encoding", "gzip"),
  "encoding=br": has("accept-encoding", "br"),
  "encoding=none": (x) => !field(x, "accept-encoding"),
  "value=query": (x) => x.target.includes("?"),
  "parallel=yes": (x) => x.connections() > 1,
  "parallel=no": (x) => x.connections() <= 1,
  "repeat=later": (x) => x.time > 1,
  "repeat=first": (x) => x.time === 1,
  "worker=second": () => process.env.ZOO_WORKER === "1",
  "drain=yes": (x) => x.draining(),
  "drain=no": (x) => !x.draining(),
};

module.exports = { CONDITIONS };
