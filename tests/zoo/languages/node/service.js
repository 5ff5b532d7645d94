"use strict";
// A production-ready service on node:http alone. ZOO_FAULT names the one thing that is wrong with it.

const { randomUUID } = require("node:crypto");
const http = require("node:http");
const net = require("node:net");
const { Readable } = require("node:stream");
const { pipeline } = require("node:stream/promises");
const { setTimeout: sleep } = require("node:timers/promises");

const { declaresTooMuch } = require("./body");
const { faulty } = require("./fault");
const items = require("./items");
const { primes } = require("./primes");
const { Problem } = require("./problem");

const PORT = Number(process.env.PORT ?? 8000);
const DRAIN_DELAY_MS = Number(process.env.DRAIN_DELAY ?? 0.3) * 1000;
// Below the 10 s after which an orchestrator is expected to kill.
const STOP_LIMIT_MS = 8000;
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]);
const EXPECTED = /^(100-continue)?$/i;
const PROTECTIVE = {
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cache-Control": "no-store",
};
const NOT_RECORDED = new Set(["/livez", "/readyz"]);

let draining = false;

function log(level, message, fields = {}) {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`);
}

// Routes

const ROUTES = [
  [/^\/livez$/, { GET: async () => ({ value: { status: "ok" } }) }],
  [/^\/readyz$/, { GET: ready }],
  [/^\/api\/items$/, { GET: items.list, POST: items.create }],
  [/^\/api\/items\/([^/]+)$/, { GET: items.read, PUT: items.update, DELETE: items.remove }],
  [/^\/api\/primes\/([^/]+)$/, { GET: primes }],
  [/^\/api\/slow$/, { GET: slow }],
  [/^\/api\/fails$/, { GET: fails }],
  [/^\/api\/large$/, { GET: large }],
];

async function ready() {
  return draining ? { status: 503, value: { status: "unavailable" } } : { value: { status: "ok" } };
}

async function slow(request) {
  const seconds = Number(new URLSearchParams(request.url.split("?")[1]).get("seconds") ?? 1);
  if (!(seconds >= 0 && seconds <= 60)) throw new Problem(422, "seconds has to be between 0 and 60");
  await sleep(seconds * 1000);
  return { value: { slept: true } };
}

async function fails() {
  throw new Error("canary-77ab of an unhandled exception");
}

const BLOCK = Buffer.alloc(1 << 16, "0123456789abcdef");
const BLOCKS = 192;

async function large() {
  const type = "text/plain; charset=utf-8";
  if (faulty("shut-2-cuts")) return { type, body: Buffer.concat(Array(BLOCKS).fill(BLOCK)) };
  // The next block is made when the client has taken the last: no response stands in the memory as a whole.
  return { type, blocks: Array(BLOCKS).fill(BLOCK), length: BLOCKS * BLOCK.length };
}

/** Find the route of a request and return what it answers. */
async function answer(request, path) {
  if (!METHODS.has(request.method)) throw new Problem(501, "the method is unknown");
  if (!EXPECTED.test(request.headers.expect ?? "")) throw new Problem(417, "nothing but 100-continue is possible");
  for (const [pattern, handlers] of ROUTES) {
    const match = pattern.exec(path);
    if (match === null) continue;
    const Allow = [...Object.keys(handlers), ...("GET" in handlers ? ["HEAD"] : []), "OPTIONS"].join(", ");
    if (request.method === "OPTIONS") return { status: 204, headers: { Allow } };
    const method = request.method === "HEAD" ? "GET" : request.method;
    if (!Object.hasOwn(handlers, method)) {
      throw new Problem(405, "the method is not possible here", { headers: { Allow } });
    }
    return handlers[method](request, match[1]);
  }
  throw new Problem(404, "there is nothing here");
}

// Requests and responses

async function handle(request, response) {
  const exchange = { id: randomUUID(), began: performance.now(), path: request.url.split("?", 1)[0] };
  const connection = connections.get(request.socket);
  connection.active++;
  response.once("close", () => {
    record(request, response, exchange);
    connection.active--;
    connection.served++;
    if (draining) hangUpIdle();
  });
  try {
    await send(request, response, exchange, await answer(request, exchange.path));
  } catch (error) {
    if (faulty("err-5-rejection") || faulty("err-4-hangs")) {
      // Nobody awaits what an event's listener returns: this is an unhandled rejection.
      if (!(error instanceof Problem)) throw error;
    }
    await fail(request, response, exchange, error);
  }
}

async function fail(request, response, exchange, error) {
  // A client that has left is no error of ours, and nobody is there to be answered.
  if (request.socket.destroyed) return;
  let problem = error;
  if (!(error instanceof Problem)) {
    log("error", "unhandled exception", { request_id: exchange.id, error: error.stack });
    problem = new Problem(500, "something went wrong");
    if (faulty("err-4-stack")) problem = new Problem(500, error.stack);
  }
  // Half a response cannot be taken back; that it is not whole can still be told.
  if (response.headersSent) response.destroy();
  else await send(request, response, exchange, told(problem, exchange.id));
}

/** Return the answer that tells of a problem. */
function told(problem, id) {
  return {
    status: problem.status,
    headers: problem.headers,
    type: "application/problem+json",
    value: problem.document(id),
  };
}

/** Send an answer: `value` as JSON, `body` as it is, `blocks` one after the other, or nothing. */
async function send(request, response, exchange, content) {
  const { status = 200, headers = {}, type = "application/json" } = content;
  const body = "value" in content ? Buffer.from(JSON.stringify(content.value)) : content.body;
  const length = content.length ?? body?.length;
  response.writeHead(status, {
    ...PROTECTIVE,
    "X-Request-Id": exchange.id,
    ...(length !== undefined && { "Content-Type": type, "Content-Length": length }),
    ...(draining && { Connection: "close" }),
    ...headers,
  });
  if (content.blocks && request.method !== "HEAD") await pipeline(Readable.from(content.blocks), response);
  else response.end(body);
}

function record(request, response, exchange) {
  if (NOT_RECORDED.has(exchange.path)) return;
  log("info", "request", {
    method: request.method,
    path: exchange.path,
    // A client that has left before the answer gets none; nginx calls that 499.
    status: response.headersSent ? response.statusCode : 499,
    duration_ms: Math.round((performance.now() - exchange.began) * 1000) / 1000,
    request_id: exchange.id,
  });
}

const UNREADABLE = {
  HPE_HEADER_OVERFLOW: new Problem(431, "the header section is too large"),
  HPE_INVALID_METHOD: new Problem(501, "the method is unknown"),
  ERR_HTTP_REQUEST_TIMEOUT: new Problem(408, "the request did not come in time"),
};

/** Answer what is no HTTP. Node's own answer has neither a body nor the protective fields. */
function refuse(error, socket) {
  // Bytes written here would stand in the middle of another response.
  if (!socket.writable || error.code === "ECONNRESET" || connections.get(socket)?.active) return socket.destroy();
  const id = randomUUID();
  const problem = UNREADABLE[error.code] ?? new Problem(400, "the request is not valid HTTP");
  const body = JSON.stringify(problem.document(id));
  const fields = {
    ...PROTECTIVE,
    "X-Request-Id": id,
    "Content-Type": "application/problem+json",
    "Content-Length": Buffer.byteLength(body),
    Date: new Date().toUTCString(),
    Connection: "close",
  };
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${problem.status} ${http.STATUS_CODES[problem.status]}\r\n${head.join("")}\r\n${body}`);
  log("info", "request refused", { status: problem.status, request_id: id });
}

// The server

/** How many requests each open connection has in work, and how many it has brought. */
const connections = new Map();
// Longer than the idle timeout of the proxies in front (60 s is usual), so that they and not we hang up.
const server = http.createServer({ keepAliveTimeout: 65_000 });

server.on("connection", (socket) => {
  connections.set(socket, { active: 0, served: 0 });
  socket.once("close", () => connections.delete(socket));
});
server.on("request", handle);
server.on("clientError", refuse);
// Whoever asks before sending a body learns of the limit before (RFC 9110 §10.1.1).
server.on("checkContinue", (request, response) => {
  if (!declaresTooMuch(request)) response.writeContinue();
  handle(request, response);
});
server.on("checkExpectation", handle);

// Start and stop

/** End connections that have been answered; one that is new has its first request still under way. */
function hangUpIdle() {
  if (faulty("shut-3-waits-for-idle")) return;
  for (const [socket, { active, served }] of connections) {
    if (served && !active) socket.destroySoon();
  }
}

async function stop(signal) {
  // A second signal asks for what is going on already.
  if (draining) return;
  draining = true;
  log("info", "shutdown begins", { signal });
  if (faulty("shut-1-exits")) process.exit(0);
  hangUpIdle();
  // Readiness is negative now: load balancers get the time to look away while everything is still served.
  await sleep(DRAIN_DELAY_MS);
  const closed = () => log("info", "shutdown is complete");
  if (faulty("shut-2-cuts")) server.close(closed);
  // http.Server#close() also destroys connections whose response was ended but is not yet sent; closing the
  // listener alone leaves them to us. With the last connection the event loop is empty, and the process ends.
  else net.Server.prototype.close.call(server, closed);
  if (!faulty("shut-3-waits-for-idle")) setTimeout(() => server.closeAllConnections(), STOP_LIMIT_MS).unref();
}

if (faulty("err-4-hangs")) {
  process.on("unhandledRejection", (error) => log("error", "unhandled rejection", { error: error.stack }));
}
if (!faulty("shut-1-no-handler")) {
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}
server.listen(PORT, "127.0.0.1", () => log("info", "serving", { port: PORT }));
