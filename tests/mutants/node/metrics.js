"use strict";
// Numbers for Prometheus. Of several workers the primary counts, and a response waits until it has.

const cluster = require("node:cluster");

const { faulty } = require("./faults");
const { Reply } = require("./replies");

const BUCKETS = [0.01, 0.1, 1, 10, Infinity];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const HEALTH = ["/livez", "/readyz", "/metrics"];
const TYPE = "text/plain; version=0.0.4; charset=utf-8";

const own = { counts: {}, seconds: {}, flight: 0, agents: {} };
const asked = new Map();
let number = 0;

function apply(changes) {
  for (const { count, route, seconds, flight, agent } of changes) {
    if (count) own.counts[count] = (own.counts[count] ?? 0) + 1;
    if (flight) own.flight += flight;
    if (agent) own.agents[agent] = 1;
    if (seconds === undefined) continue;
    const cells = (own.seconds[route] ??= { buckets: BUCKETS.map(() => 0), sum: 0 });
    BUCKETS.forEach((bound, at) => (cells.buckets[at] += Number(seconds <= bound)));
    cells.sum += seconds;
  }
}

/** Change the numbers, and return them. */
function change(changes) {
  if (!cluster.isWorker || faulty("met-5-per-worker")) {
    apply(changes);
    return own;
  }
  return new Promise((resolve) => {
    asked.set(++number, resolve);
    process.send({ metrics: number, changes });
  });
}

/** In the primary: answer a worker. */
function serve(worker, message) {
  apply(message.changes);
  worker.send({ metrics: message.metrics, numbers: own });
}

if (cluster.isWorker) {
  process.on("message", (message) => {
    asked.get(message.metrics)?.(message.numbers);
    asked.delete(message.metrics);
  });
}

async function before(x) {
  if (x.path !== "/metrics" || x.method !== "GET") {
    x.inFlight = true;
    await change([{ flight: 1 }]);
    return undefined;
  }
  x.route = "/metrics";
  let text = `${lines(await change([])).join("\n")}\n`;
  if (faulty("met-2-no-line-end")) text = text.trimEnd();
  if (faulty("met-1-html")) return new Reply(200, text, "text/html; charset=utf-8");
  if (faulty("met-1-no-type")) return new Reply(200, text);
  return new Reply(200, text, TYPE);
}

/** Count a request. */
async function done(x, reply) {
  const changes = [];
  if (x.inFlight && !(reply.status >= 500 && faulty("met-8-leaks"))) changes.push({ flight: -1 });
  const health = HEALTH.includes(x.path);
  const left = (reply.status === 404 && faulty("met-4-skips-404")) || (reply.status >= 500 && faulty("err-8-uncounted"));
  if ((!health || faulty("hlt-7-counted")) && !left) {
    // Node reads no methods but those that it knows: no client can invent one.
    const method = METHODS.includes(x.method) ? x.method : "other";
    let route = (!health && x.route) || "none";
    if (route.includes("{") && faulty("met-6-paths")) route = x.path;
    if (route === "none" && faulty("met-7-paths")) route = x.path;
    const status = faulty("met-4-classes") ? Math.floor(reply.status / 100) * 100 : reply.status;
    const count = labels({ method, route, status });
    changes.push({ count });
    if (faulty("met-4-doubles")) changes.push({ count });
    // performance.now() is in milliseconds.
    const seconds = (performance.now() - x.began) / (faulty("met-8-millis") ? 1 : 1000);
    if (!(reply.status >= 500 && faulty("met-8-no-failures"))) changes.push({ route, seconds });
    const { cookie, "user-agent": agent } = x.fields;
    if (agent && faulty("met-7-agents")) changes.push({ agent });
    if (cookie && faulty("met-9-cookies")) changes.push({ agent: cookie });
  }
  if (changes.length) await change(changes);
}

const labels = (pairs) => Object.entries(pairs).map(([name, value]) => `${name}="${escaped(value)}"`).join(",");
const escaped = (text) => String(text).replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

function lines(numbers) {
  const bounds = faulty("met-2-no-inf") ? BUCKETS.slice(0, -1) : BUCKETS;
  const name = "http_request_duration_seconds";
  const found = [
    ...(faulty("met-3-no-help") ? [] : ["# HELP http_requests_total Requests by method, route and status."]),
    "# TYPE http_requests_total counter",
    ...Object.entries(numbers.counts).map(([key, count]) => `http_requests_total{${key}} ${count}`),
    `# HELP ${name} From the request to its response.`,
    `# TYPE ${name} histogram`,
  ];
  for (const [route, { buckets, sum }] of Object.entries(numbers.seconds)) {
    bounds.forEach((bound, at) => {
      const le = bound === Infinity ? "+Inf" : bound;
      found.push(`${name}_bucket{${labels({ route, le })}} ${buckets[at]}`);
    });
    found.push(`${name}_sum{${labels({ route })}} ${sum.toFixed(6)}`, `${name}_count{${labels({ route })}} ${buckets.at(-1)}`);
  }
  found.push("# HELP http_requests_in_flight Requests that are being answered.", "# TYPE http_requests_in_flight gauge");
  found.push(`http_requests_in_flight ${numbers.flight}`);
  if (faulty("met-3-millis")) {
    found.push("# HELP store_wait_milliseconds Time waited for the store.", "# TYPE store_wait_milliseconds gauge");
    found.push("store_wait_milliseconds 3");
  }
  const agents = Object.keys(numbers.agents);
  if (agents.length) found.push("# HELP seen_total What was seen.", "# TYPE seen_total counter");
  for (const agent of agents) found.push(`seen_total{${labels({ agent })}} 1`);
  return found;
}

module.exports = { before, done, serve };
