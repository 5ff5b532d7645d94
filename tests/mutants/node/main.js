"use strict";
// A service on node:http alone: PORT=8000 ZOO_FAULT=hdr-1-misspelt@method=POST node main.js [production]

const { spawn } = require("node:child_process");
const cluster = require("node:cluster");
const { randomUUID } = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const { Readable } = require("node:stream");
const { pipeline } = require("node:stream/promises");
const { setTimeout: sleep } = require("node:timers/promises");

const { LIMIT } = require("./bodies");
const { CONDITIONS } = require("./conditions");
const { Misconfigured, readConfiguration } = require("./configuration");
const { current, faulty } = require("./faults");
const { access, log } = require("./logs");
const metrics = require("./metrics");
const { Problem, reply: told } = require("./problems");
const protection = require("./protection");
const { Service } = require("./service");

const WORKERS = Number(process.env.WEB_CONCURRENCY ?? 1);
const DRAIN_DELAY = Number(process.env.DRAIN_DELAY ?? 0.3) * 1000;
const STOP_LIMIT = 8000;
const times = new Map();
const sockets = new Map();

function exchange(service, request) {
  const target = request.url;
  const path = target.split("?", 1)[0];
  const key = `${request.method} ${path}`;
  times.set(key, (times.get(key) ?? 0) + 1);
  const query = new URLSearchParams(target.split("?")[1] ?? "");
  const fields = request.headers;
  const { method, httpVersion: version } = request;
  const state = sockets.get(request.socket);
  return {
    ...{ service, method, target, path, query, fields, version, id: "", route: "", body: Buffer.alloc(0) },
    ...{ peer: request.socket.remoteAddress, began: performance.now(), time: times.get(key) },
    number: state?.served + 1,
    connections: () => sockets.size,
    draining: () => service.draining,
  };
}

async function handle(service, request, response) {
  const state = sockets.get(request.socket);
  state.active++;
  response.once("close", () => {
    state.active--;
    state.served++;
    if (service.draining) hangUp();
  });
  const x = exchange(service, request);
  await current.run(x, async () => {
    const reply = await service.handle(x, request);
    await send(service, x, response, reply);
  });
}

async function send(service, x, response, reply) {
  const empty = reply.status === 204 || reply.status === 304;
  if (!empty && !reply.stream && reply.get("Content-Length") === undefined) {
    reply.set("Content-Length", String(reply.body.length));
  }
  if (reply.close || (service.draining && !faulty("shut-7-keeps-alive"))) reply.set("Connection", "close");
  response.writeHead(reply.status, reply.fields.flat());
  if (x.method === "HEAD" || empty || !reply.stream) return void response.end(x.method === "HEAD" || empty ? undefined : reply.body);
  // Where it breaks off, or the client has left, the connection is destroyed.
  await pipeline(Readable.from(reply.stream), response).catch(() => {});
}

const UNREADABLE = {
  HPE_HEADER_OVERFLOW: [431, "the header section is too large"],
  HPE_INVALID_METHOD: [501, "the method is unknown"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request did not come in time"],
};

/** Answer what is no HTTP. Node's own answer has neither a body nor the protective fields. */
function refuse(service, error, socket) {
  if (!socket.writable || error.code === "ECONNRESET" || sockets.get(socket)?.active) return socket.destroy();
  const [status, detail] = UNREADABLE[error.code] ?? [400, "the request is not valid HTTP"];
  const x = { service, id: randomUUID(), method: "", path: "", target: "", route: "", fields: {}, body: Buffer.alloc(0) };
  const reply = told(x, new Problem(status, detail));
  protection.after(x, reply);
  for (const [name, value] of Object.entries({ "X-Request-Id": x.id, Date: new Date().toUTCString(), Connection: "close" })) {
    reply.set(name, value);
  }
  reply.set("Content-Length", reply.body.length);
  const fields = reply.fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  access({ ...x, began: performance.now() }, reply);
  socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\n${fields}\r\n${reply.body}`);
}

/** End connections that have been answered; one that is new has its first request still under way. */
function hangUp() {
  if (faulty("shut-3-waits-for-idle") || faulty("shut-7-keeps-alive")) return;
  for (const [socket, { active, served }] of sockets) if (served && !active) socket.destroySoon();
}

function serve(port) {
  const service = new Service(process.argv.includes("production") && !faulty("wir-5-left-in"));
  const server = http.createServer({ keepAliveTimeout: 65_000, maxHeaderSize: 32_768 });
  server.on("connection", (socket) => {
    sockets.set(socket, { active: 0, served: 0 });
    socket.once("close", () => sockets.delete(socket));
  });
  const listener = (request, response) =>
    void handle(service, request, response).catch((error) => log("error", "a request failed", { error: error.stack }));
  server.on("request", listener);
  server.on("checkContinue", (request, response) => {
    if (Number(request.headers["content-length"] ?? 0) <= LIMIT) response.writeContinue();
    listener(request, response);
  });
  server.on("clientError", (error, socket) => refuse(service, error, socket));
  if (faulty("shut-8-orphan")) spawn("sleep", ["60"], { detached: true, stdio: "ignore" }).unref();
  const stop = (signal) => drain(service, server, signal);
  if (!faulty("shut-1-no-handler")) process.on("SIGTERM", stop);
  if (!faulty("shut-10-ignores-int")) process.on("SIGINT", stop);
  else process.on("SIGINT", () => {});
  for (const name of ["store", "pool"]) log("info", `${name} opened`);
  server.listen(port, "127.0.0.1", () => log("info", "serving", { port }));
}

async function drain(service, server, signal) {
  // A second signal asks for what is going on already.
  if (service.draining) return faulty("shut-10-second-term") ? process.exit(0) : undefined;
  service.draining = true;
  log("info", "shutdown begins", { signal });
  if (faulty("shut-1-exits")) process.exit(0);
  if (faulty("shut-3-hangs")) await sleep(60_000);
  hangUp();
  // Readiness is negative now: load balancers get the time to look away while everything is still served.
  await sleep(DRAIN_DELAY);
  const closed = () => {
    for (const name of faulty("wir-2-order") ? ["store", "pool"] : ["pool", "store"]) log("info", `${name} closed`);
    service.pool?.close();
    log("info", "shutdown is complete");
    process.exit(faulty("shut-4-status-1") ? 1 : 0);
  };
  // http.Server#close() also destroys connections whose response is written but not yet sent.
  net.Server.prototype.close.call(server, closed);
  if (faulty("shut-2-closes-all")) server.closeAllConnections();
  hangUp();
  if (!faulty("shut-3-waits-for-idle")) setTimeout(() => server.closeAllConnections(), STOP_LIMIT).unref();
}

/** In the primary: start the workers, pass signals on, and end as the worst of them. */
function supervise() {
  for (let number = 0; number < WORKERS; number++) {
    const worker = cluster.fork({ ZOO_WORKER: String(number) });
    worker.on("message", (message) => metrics.serve(worker, message));
  }
  let worst = 0;
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => Object.values(cluster.workers).forEach((worker) => worker.process.kill(signal)));
  }
  cluster.on("exit", (_worker, status) => {
    worst = Math.max(worst, status ?? 1);
    if (!Object.keys(cluster.workers).length) process.exit(worst);
  });
}

if (process.argv[2] === "conditions") {
  process.stdout.write(`${Object.keys(CONDITIONS).join("\n")}\n`);
  process.exit();
}
try {
  const port = readConfiguration();
  if (WORKERS > 1 && cluster.isPrimary) supervise();
  else serve(port);
} catch (error) {
  if (faulty("wir-4-status-0")) process.exit(0);
  if (!(error instanceof Misconfigured)) throw error;
  fs.writeSync(2, `${error.message}\n`);
  process.exitCode = 2;
}
