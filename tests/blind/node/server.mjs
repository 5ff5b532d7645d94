// An inventory on node:http, as a careful team writes it, with one switch for each fault (BLIND_FAULT).
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import zlib from "node:zlib";
import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Conflict, Inventory } from "./store.mjs";

const FAULT = process.env.BLIND_FAULT ?? "";
const LEVELS = { debug: 10, info: 20, warn: 30, error: 40 };
const MAX_BODY = 64 * 1024;
const SECRET_FIELDS = new Set(["token", "access_token", "api_key", "password", "secret"]);
const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg==", "base64");
const TITLES = {
  400: ["bad_request", "Bad Request"], 401: ["unauthorized", "Unauthorized"], 403: ["forbidden", "Forbidden"],
  404: ["not_found", "Not Found"], 405: ["method_not_allowed", "Method Not Allowed"], 409: ["conflict", "Conflict"],
  413: ["too_large", "Content Too Large"], 415: ["unsupported_media_type", "Unsupported Media Type"],
  422: ["invalid", "Unprocessable Content"], 429: ["rate_limited", "Too Many Requests"],
  500: ["internal", "Internal Server Error"], 501: ["not_implemented", "Not Implemented"],
  503: ["unavailable", "Service Unavailable"],
};

// -- configuration -------------------------------------------------------------------------------------

function configuration(env) {
  const mistakes = [];
  const port = FAULT === "js-env-port-suffix" ? parseInt(env.PORT ?? "8000", 10) : /^\d{1,5}$/.test(env.PORT ?? "8000") ? Number(env.PORT ?? 8000) : 0;
  if (!(port > 0 && port < 65536)) mistakes.push("PORT must be a whole number from 1 to 65535");
  const secret = env.APP_SECRET ?? "";
  if (!secret) mistakes.push("APP_SECRET is required");
  else if (secret.length < 16 || new Set(secret).size < 6 || /change|secret|password/i.test(secret)) mistakes.push("APP_SECRET must have 16 characters or more that nobody guesses");
  let level = (env.LOG_LEVEL ?? "info").toLowerCase();
  if (FAULT === "js-env-level-case") level = LEVELS[env.LOG_LEVEL] ? env.LOG_LEVEL : level in LEVELS ? "info" : level;
  if (!(level in LEVELS)) mistakes.push(`LOG_LEVEL must be one of ${Object.keys(LEVELS).join(", ")}`);
  const limit = /^(\d+)\/([1-9]\d*)$/.exec(env.RATE_LIMIT ?? "600/60");
  if (!limit) mistakes.push("RATE_LIMIT must be requests/seconds, such as 600/60");
  const delay = /^\d+(\.\d+)?$/.test(env.DRAIN_DELAY ?? "5") ? Number(env.DRAIN_DELAY ?? 5) : -1;
  if (delay < 0) mistakes.push("DRAIN_DELAY must be a number of seconds");
  if (mistakes.length) {
    for (const mistake of mistakes) process.stdout.write(JSON.stringify({ time: new Date().toISOString(), level: "error", message: `configuration: ${mistake}` }) + "\n");
    process.exit(2);
  }
  return { port, secret, level: LEVELS[level], limit: Number(limit[1]), window: Number(limit[2]), delay,
    origins: (env.ALLOWED_ORIGINS ?? "").split(",").filter(Boolean), file: env.DATA_FILE ?? "items.journal" };
}

const config = configuration(process.env);
const inventory = new Inventory(config.file, FAULT);
const used = new Map();
const series = new Map();
const state = { draining: false, flying: 0, busy: 0, lastFailure: "", agent: "", signalled: 0 };

function record(level, message, more) {
  if (LEVELS[level] < config.level) return;
  const line = JSON.stringify({ time: new Date().toISOString(), level, message, ...more });
  process.stdout.write(line.replace(/[\u007f-\u009f\u2028\u2029]/g, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`) + "\n");
}

class Problem extends Error {
  constructor(status, detail, { errors, fields = {} } = {}) {
    super(detail);
    Object.assign(this, { status, detail, errors, fields });
  }
}

// -- what every response has ---------------------------------------------------------------------------

function problemReply(x, problem) {
  const [code, title] = TITLES[problem.status];
  const body = { type: "about:blank", title, status: problem.status, code, detail: problem.detail, request_id: x.id };
  if (problem.errors) body.errors = problem.errors;
  const shape = FAULT === "js-err-shape-413" && problem.status === 413 ? { error: problem.detail } : body;
  return { status: problem.status, media: "application/problem+json", body: JSON.stringify(shape), fields: { "cache-control": "no-store", ...problem.fields } };
}

function json(value, status = 200, fields = {}) {
  return { status, media: "application/json", body: JSON.stringify(value), fields: { "cache-control": "no-store", ...fields } };
}

function protect(x, status, headers) {
  if (!(FAULT === "js-log-id-413" && status === 413)) headers["x-request-id"] = x.id;
  if (!(FAULT === "js-err-protective-415" && status === 415)) headers["x-content-type-options"] = "nosniff";
  headers["referrer-policy"] = "no-referrer";
  headers["permissions-policy"] = "camera=(), geolocation=(), microphone=()";
  headers["cross-origin-opener-policy"] = "same-origin";
  if (!(FAULT === "js-hdr-frame-404" && status === 404)) {
    headers["x-frame-options"] = "DENY";
    headers["content-security-policy"] ??= "default-src 'none'; frame-ancestors 'none'";
  }
  if (FAULT === "js-hdr-server-500" && status === 500) headers.server = "nginx/1.18.0";
  if (state.draining) headers.connection = "close";
}

function trusted(x, preflight) {
  const origin = x.req.headers.origin;
  if (!origin) return false;
  if (FAULT === "js-cors-prefix-preflight" && preflight) return config.origins.some((known) => origin.startsWith(known));
  if (FAULT === "js-cors-null-post" && origin === "null" && x.method === "POST") return true;
  return config.origins.includes(origin);
}

function share(x, status, headers, vary) {
  if (!(FAULT === "js-cors-vary-preflight" && x.preflight)) vary.push("Origin");
  if (x.preflight || !trusted(x, false)) return;
  if (FAULT === "js-cors-413" && status === 413) return;
  const origin = x.req.headers.origin;
  headers["access-control-allow-origin"] = FAULT === "js-cors-slash-4xx" && status >= 400 && status < 500 ? `${origin}/` : origin;
  headers["access-control-allow-credentials"] = "true";
  if (!(FAULT === "js-cors-expose-429" && status === 429)) headers["access-control-expose-headers"] = "X-Request-Id, Location, Retry-After, RateLimit, RateLimit-Policy, ETag";
}

function wantsGzip(accepted) {
  const weights = {};
  for (const item of accepted.toLowerCase().split(",")) {
    const [name, ...parameters] = item.split(";").map((part) => part.trim());
    const q = parameters.find((each) => each.startsWith("q="));
    weights[name] = q ? Number(q.slice(2)) || 0 : 1;
  }
  const gzip = FAULT === "js-cmp-star" ? Math.max(weights.gzip ?? 0, weights["*"] ?? 0) : weights.gzip ?? weights["*"] ?? 0;
  return gzip > 0 && gzip >= (weights.identity ?? 0);
}

function send(x, reply) {
  if (x.res.headersSent || x.res.destroyed) return;
  const headers = { ...reply.fields, ...x.limits };
  const vary = reply.vary ?? [];
  let body = Buffer.from(reply.body ?? "");
  const plain = body.length;
  const empty = reply.status === 204;
  protect(x, reply.status, headers);
  share(x, reply.status, headers, vary);
  if (!empty && !reply.media.startsWith("image/")) {
    vary.push("Accept-Encoding");
    const gzipped = body.length >= 500 && wantsGzip(x.req.headers["accept-encoding"] ?? "");
    if (reply.status === 200 && reply.tagged) {
      headers.etag = `"${createHash("sha256").update(body).digest("hex").slice(0, 20)}${gzipped ? "-gzip" : ""}"`;
      const asked = x.req.headers["if-none-match"] ?? "";
      const tags = FAULT === "js-cmp-etag-list" ? [asked] : asked.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
      if (tags.includes(headers.etag) || tags.includes("*")) return end(x, 304, headers, vary, null);
    }
    if (gzipped) {
      body = zlib.gzipSync(body);
      headers["content-encoding"] = "gzip";
    }
  }
  if (!empty) {
    headers["content-type"] = reply.media;
    headers["content-length"] = FAULT === "js-cmp-head-length" && x.method === "HEAD" ? plain : body.length;
  }
  end(x, reply.status, headers, vary, body);
}

function end(x, status, headers, vary, body) {
  if (vary.length) headers.vary = vary.join(", ");
  x.res.writeHead(status, headers);
  if (x.method === "HEAD" || !body) x.res.end();
  else x.res.end(body);
}

// -- the record and the numbers ------------------------------------------------------------------------

const EDGES = [0.005, 0.025, 0.1, 0.5, 2.5, 10];

function finish(x, left) {
  const status = left ? 499 : x.res.statusCode;
  const seconds = Number(process.hrtime.bigint() - x.started) / 1e9;
  const silent = (FAULT === "js-log-leave" && left) || (FAULT === "js-log-options" && x.method === "OPTIONS");
  const entry = { request_id: x.id, method: x.method, route: x.route, path: x.path, status, duration_ms: seconds * 1000 };
  if (FAULT === "js-log-duration-405" && status === 405) delete entry.duration_ms;
  if (FAULT === "js-log-query-404" && status === 404) entry.url = x.req.url;
  if (!silent) record(status >= 500 ? "error" : status === 429 ? "warn" : "info", "request", entry);
  if (x.private) return;
  if (!(FAULT === "js-met-flight" && left)) state.flying -= 1;
  if (FAULT === "js-met-413" && status === 413) return;
  const known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"].includes(x.method);
  const host = FAULT === "js-met-host" ? `,host="${(x.req.headers.host ?? "").replace(/[^a-zA-Z0-9.:-]/g, "")}"` : "";
  const key = `method="${known ? x.method : "other"}",route="${x.route}",status="${status}"${host}`;
  const numbers = series.get(key) ?? { count: 0, sum: 0, hits: EDGES.map(() => 0) };
  numbers.count += 1;
  numbers.sum += seconds;
  EDGES.forEach((edge, at) => (numbers.hits[at] += seconds <= edge ? 1 : 0));
  series.set(key, numbers);
}

function metrics() {
  const lines = ["# HELP http_requests_total Requests that were answered.", "# TYPE http_requests_total counter"];
  for (const [key, numbers] of series) lines.push(`http_requests_total{${key}} ${numbers.count}`);
  lines.push("# HELP http_request_duration_seconds Time to answer.", "# TYPE http_request_duration_seconds histogram");
  for (const [key, { count, sum, hits }] of series) {
    EDGES.forEach((edge, at) => lines.push(`http_request_duration_seconds_bucket{${key},le="${edge}"} ${hits[at]}`));
    lines.push(`http_request_duration_seconds_bucket{${key},le="+Inf"} ${count}`, `http_request_duration_seconds_sum{${key}} ${sum}`, `http_request_duration_seconds_count{${key}} ${count}`);
  }
  lines.push("# HELP http_requests_in_flight Requests being answered.", "# TYPE http_requests_in_flight gauge", `http_requests_in_flight ${state.flying}`);
  if (FAULT === "js-met-quote") lines.push("# HELP http_last_agent_info The last agent.", "# TYPE http_last_agent_info gauge", `http_last_agent_info{agent="${state.agent}"} 1`);
  return { status: 200, media: "text/plain; version=0.0.4; charset=utf-8", body: lines.join("\n") + "\n", fields: { "cache-control": "no-store" } };
}

// -- what is read of a request -------------------------------------------------------------------------

async function readBody(x) {
  const media = (x.req.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  const text = FAULT === "js-val-text-put" && x.method === "PUT" && media === "text/plain";
  if (media !== "application/json" && !text) throw new Problem(415, "Send application/json.");
  const tooLarge = () => new Problem(413, "The body is too large.", { fields: { connection: "close" } });
  if (Number(x.req.headers["content-length"] ?? 0) > MAX_BODY) throw tooLarge();
  const parts = [];
  let size = 0;
  x.reading = true;
  const whole = new Promise((resolve, reject) => {
    x.req.on("data", (part) => {
      size += part.length;
      if (size > MAX_BODY) reject(tooLarge());
      else parts.push(part);
    });
    x.req.on("end", () => resolve(Buffer.concat(parts)));
    x.req.on("error", reject);
    x.req.on("close", () => reject(new Error("left")));
  });
  const data = await whole;
  x.reading = false;
  if (FAULT === "js-val-empty-put" && x.method === "PUT" && !data.length) return { ...inventory.items.get(Number(x.path.split("/")[3])) };
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
  } catch {
    throw new Problem(400, "The body is not valid JSON.");
  }
  if (FAULT === "js-val-null" && value === null) return value;
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Problem(422, "The body must be an object.", { errors: [{ pointer: "", detail: "must be an object" }] });
  if (FAULT === "js-val-deep") depth(value);
  return value;
}

function depth(value) {
  return typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0;
}

async function readItem(x) {
  const value = await readBody(x);
  const errors = [];
  const onPut = x.method === "PUT";
  const item = {};
  for (const [name, most] of [["name", FAULT === "js-svc-put-length" && onPut ? 100000 : 200], ["sku", 100]]) {
    let text = value[name];
    if (typeof text === "string" && FAULT === "js-val-nfc") text = text.normalize("NFC");
    if (typeof text === "string" && FAULT === "js-val-trim") text = text.trim();
    if (typeof text !== "string" || text.length < 1 || text.length > most) errors.push({ pointer: `/${name}`, detail: "must be a text of ordinary length" });
    else if (!text.isWellFormed() || text.includes("\0")) errors.push({ pointer: `/${name}`, detail: "has characters that cannot be stored" });
    item[name] = text;
  }
  let { quantity } = value;
  if (FAULT === "js-val-numeric-text" && typeof quantity === "string" && quantity.trim()) quantity = Number(quantity);
  const most = FAULT === "js-val-bigint" ? Infinity : 1000000;
  if (!Number.isInteger(quantity) || quantity < 0 || quantity > most) errors.push({ pointer: "/quantity", detail: "must be a whole number from 0 to 1000000" });
  item.quantity = quantity;
  for (const name of Object.keys(value)) {
    if (["name", "sku", "quantity"].includes(name)) continue;
    if (FAULT === "js-val-object-field" && typeof value[name] === "object") item[name] = value[name];
    else errors.push({ pointer: `/${name.slice(0, 40)}`, detail: "is not known" });
  }
  if (errors.length) throw new Problem(422, "Some fields are not right.", { errors });
  return item;
}

function find(text) {
  const id = FAULT === "js-val-parseint" ? parseInt(text, 10) : /^[1-9]\d{0,14}$/.test(text) ? Number(text) : 0;
  if (!inventory.items.has(id)) throw new Problem(404, "There is no such item.");
  return id;
}

function limit(x) {
  if (!config.limit) return;
  const now = Date.now() / 1000;
  const slot = Math.floor(now / config.window);
  const client = (FAULT === "js-rtl-real-ip" && x.req.headers["x-real-ip"]) || x.req.socket.remoteAddress;
  const count = used.get(client)?.slot === slot ? used.get(client).count + 1 : 1;
  used.set(client, { slot, count });
  const wait = Math.max(1, Math.ceil((slot + 1) * config.window - now));
  const off = FAULT === "js-rtl-remaining" && x.method === "POST" ? 1 : 0;
  x.limits = { "ratelimit-policy": `"default";q=${config.limit};w=${config.window}`, ratelimit: `"default";r=${Math.max(0, config.limit - count + off)};t=${wait}` };
  const page = FAULT === "js-rtl-cursor" && x.query.has("cursor");
  if (count > config.limit && !page) throw new Problem(429, "Too many requests; try again later.", { fields: { "retry-after": String(wait) } });
}

// -- routes --------------------------------------------------------------------------------------------

const routes = {
  "/api/items": {
    GET: async (x) => {
      const { limit: size = "20", cursor = "0" } = Object.fromEntries(x.query);
      if (!/^\d{1,3}$/.test(size) || Number(size) < 1 || Number(size) > 100) throw new Problem(422, "The limit is not right.", { errors: [{ parameter: "limit", detail: "must be from 1 to 100" }] });
      if (!/^\d{1,15}$/.test(cursor)) throw new Problem(422, "The cursor is not right.", { errors: [{ parameter: "cursor", detail: "must be one that was given" }] });
      const { rows, next } = inventory.page(Number(cursor), Number(size));
      return { ...json({ items: rows.map((id) => ({ id, ...inventory.items.get(id) })), next_cursor: next }), tagged: true };
    },
    POST: async (x) => {
      const item = await readItem(x);
      const id = inventory.create(item);
      return json({ id, ...item }, 201, { location: `/api/items/${id}` });
    },
  },
  "/api/items/{id}": {
    GET: async (x, id) => ({ ...json({ id: find(id), ...inventory.items.get(find(id)) }), tagged: true }),
    PUT: async (x, text) => {
      const id = find(text);
      const item = await readItem(x);
      inventory.update(id, item);
      return json({ id, ...item });
    },
    DELETE: async (x, id) => {
      inventory.delete(find(id));
      if (FAULT === "js-ctl-delete-accept" && (x.req.headers.accept ?? "").startsWith("application/json")) return json({ deleted: true });
      return { status: 204, fields: {} };
    },
  },
  "/api/login": {
    POST: async (x) => {
      const body = await readBody(x);
      if (body.password !== config.secret) {
        if (FAULT === "js-log-body-401") record("warn", "sign-in failed", { request_id: x.id, body });
        throw new Problem(401, "The name or the password is wrong.", { fields: { "www-authenticate": "Bearer" } });
      }
      const cookies = [`session=${randomUUID()}; HttpOnly; Secure; SameSite=Lax; Path=/`];
      if (FAULT === "js-hdr-second-cookie") cookies.push(`remember_token=${randomUUID()}; HttpOnly; SameSite=Lax; Path=/`);
      return json({ signed_in: true }, 200, { "set-cookie": cookies });
    },
  },
  "/api/slow": { GET: async (x) => (await sleep(Math.min(Number(x.query.get("seconds") ?? 2) || 2, 5) * 1000), json({ slept: true })) },
  "/api/fails": { GET: async () => { throw new TypeError("canary-91de in the pricing module"); } },
  "/api/catalogue": { GET: async () => ({ ...json({ products: Array.from({ length: 60000 }, (_, at) => ({ name: `product ${at}`, text: "lorem ipsum ".repeat(6) })) }), tagged: true }) },
  "/api/events": { GET: events },
  "/picture.png": { GET: async () => ({ status: 200, media: "image/png", body: PNG, fields: {} }) },
  "/": { GET: async () => {
    const nonce = FAULT === "js-hdr-nonce" ? "c29tZS1maXhlZC1ub25jZQ" : randomUUID().replaceAll("-", "");
    const body = `<!doctype html><html lang=en><head><title>Inventory</title><script nonce="${nonce}">0</script></head><body><h1>Inventory</h1></body></html>`;
    return { status: 200, media: "text/html; charset=utf-8", body, fields: { "content-security-policy": `default-src 'self'; script-src 'nonce-${nonce}'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'`, "cache-control": "no-store" } };
  } },
  "/openapi.json": { GET: async () => ({ status: 200, media: "application/json", body: fs.readFileSync(new URL("../openapi.json", import.meta.url)), fields: {} }) },
  "/health/live": { GET: async () => json({ status: "up" }) },
  "/health/ready": { GET: async (x) => {
    const old = FAULT === "js-shut-ready-kept" && x.req.socket.opened < state.signalled;
    if (state.draining && !old) return json({ status: FAULT === "js-hlt-body-drain" ? "up" : "draining" }, 503);
    return json({ status: "up" });
  } },
  "/metrics": { GET: async () => metrics() },
};

async function events(x) {
  const headers = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" };
  const vary = [];
  protect(x, 200, headers);
  share(x, 200, headers, vary);
  const squeezed = FAULT === "js-cmp-stream-gzip" && wantsGzip(x.req.headers["accept-encoding"] ?? "");
  if (squeezed) headers["content-encoding"] = "gzip";
  headers.vary = [...vary, "Accept-Encoding"].join(", ");
  x.res.writeHead(200, headers);
  const out = squeezed ? zlib.createGzip() : x.res;
  if (squeezed) out.pipe(x.res);
  for (let at = 0; at < 10 && !x.res.destroyed; at += 1) {
    out.write(`data: ${at}\n\n`);
    await sleep(200);
  }
  out.end();
  return null;
}

function preflight(x, methods) {
  x.preflight = true;
  const asked = x.req.headers["access-control-request-method"];
  const names = (x.req.headers["access-control-request-headers"] ?? "").split(",").map((name) => name.trim().toLowerCase()).filter(Boolean);
  const known = ["content-type", "authorization", "x-request-id", "idempotency-key"];
  const vary = ["Access-Control-Request-Method", "Access-Control-Request-Headers"];
  const any = FAULT === "js-cors-method-item" && x.route.includes("{") && asked === "PATCH";
  if (!trusted(x, true) || !(methods.includes(asked) || any) || names.some((name) => !known.includes(name))) {
    return { ...problemReply(x, new Problem(403, "This cross-origin request is not allowed.")), vary };
  }
  return { status: 204, vary, fields: {
    "access-control-allow-origin": x.req.headers.origin, "access-control-allow-credentials": "true",
    "access-control-allow-methods": any ? [...methods, asked].join(", ") : methods.join(", "),
    "access-control-allow-headers": "Authorization, Content-Type, Idempotency-Key, X-Request-Id", "access-control-max-age": "600",
  } };
}

async function answer(x) {
  if (x.method === "TRACE") {
    if (FAULT === "js-err-trace-item" && x.path.startsWith("/api/items/")) return { status: 200, media: "message/http", body: `TRACE ${x.path} HTTP/1.1\r\n${x.req.rawHeaders.join("\r\n")}`, fields: {} };
    throw new Problem(501, "The method is not supported.");
  }
  const segments = x.path.split("/");
  x.route = routes[x.path] ? x.path : x.path.startsWith("/api/items/") && segments.length === 4 && segments[3] ? "/api/items/{id}" : "unmatched";
  const found = routes[x.route];
  if (!found) {
    if (x.path.startsWith("/api/")) limit(x);
    if (FAULT === "js-err-html-deep" && segments.length > 4) return { status: 404, media: "text/html; charset=utf-8", body: "<!doctype html><pre>Cannot find it</pre>", fields: { "cache-control": "no-store" } };
    throw new Problem(404, "There is no such resource.");
  }
  const methods = [...Object.keys(found), "OPTIONS", ...(found.GET ? ["HEAD"] : [])];
  if (x.method === "OPTIONS") {
    if (FAULT === "js-rtl-preflight") limit(x);
    if (x.req.headers.origin && x.req.headers["access-control-request-method"]) return preflight(x, methods);
    return { status: 204, fields: { allow: methods.join(", ") } };
  }
  if (x.route.startsWith("/api/") || (FAULT === "js-rtl-metrics" && x.route === "/metrics")) limit(x);
  const handler = found[x.method === "HEAD" ? "GET" : x.method];
  if (!handler && FAULT === "js-err-item-404" && x.route.includes("{")) throw new Problem(404, "There is no such resource.");
  if (!handler) throw new Problem(405, "The resource does not have this method.", { fields: { allow: methods.join(", ") } });
  return handler(x, segments[3]);
}

async function guarded(x) {
  try {
    return await answer(x);
  } catch (error) {
    if (error instanceof Problem) return problemReply(x, error);
    if (error instanceof Conflict) return problemReply(x, new Problem(409, "Another item has this sku."));
    if (x.req.destroyed && !x.req.complete) return null;
    if (FAULT === "js-log-stack") console.error(error.stack);
    else record("error", "request failed", { request_id: x.id, error: error.name, stack: error.stack });
    const before = state.lastFailure;
    state.lastFailure = error.message;
    return problemReply(x, new Problem(500, FAULT === "js-err-second-leak" && before ? `Something went wrong again: ${before}` : "Something went wrong."));
  }
}

const server = http.createServer(async (req, res) => {
  const given = req.headers["x-request-id"] ?? "";
  const [raw, query = ""] = req.url.split(/\?(.*)/s);
  let path = raw;
  try {
    path = decodeURIComponent(raw);
  } catch { /* stays as it is, and is not found */ }
  const x = { req, res, method: req.method, path, query: new URLSearchParams(query), route: "unmatched", limits: {},
    id: /^[A-Za-z0-9_-]{8,64}$/.test(given) ? given : randomUUID(), started: process.hrtime.bigint() };
  x.private = ["/health/live", "/health/ready", "/metrics"].includes(path);
  state.agent = req.headers["user-agent"] ?? "";
  if (!x.private) state.flying += 1;
  state.busy += 1;
  req.socket.current = x;
  res.on("close", () => {
    state.busy -= 1;
    if (req.socket.current === x) req.socket.current = null;
    const left = !res.writableFinished;
    finish(x, left);
    if (FAULT === "js-err-leave-download" && left && res.headersSent) process.exit(1);
    if (state.closing) req.socket.end();
  });
  const reply = await guarded(x);
  if (reply) send(x, reply);
  else if (!res.headersSent) res.destroy();
});

server.keepAliveTimeout = 75000;
const sockets = new Set();
server.on("connection", (socket) => {
  socket.opened = Date.now();
  socket.used = false;
  sockets.add(socket);
  socket.once("data", () => (socket.used = true));
  socket.on("close", () => sockets.delete(socket));
});
server.on("clientError", (error, socket) => {
  if (!socket.writable) return;
  const body = JSON.stringify({ type: "about:blank", title: "Bad Request", status: 400, code: "bad_request", detail: "The request is not valid HTTP.", request_id: randomUUID() });
  socket.end(`HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
});

// -- the end -------------------------------------------------------------------------------------------

async function stop() {
  if (state.draining) return;
  Object.assign(state, { draining: true, signalled: Date.now() });
  record("info", "stopping", {});
  if (FAULT === "js-shut-upload") for (const socket of sockets) if (socket.current?.reading) socket.destroy();
  await sleep(config.delay * 1000);
  state.closing = true;
  // http.Server.close would cut responses that are written but not yet read.
  const closed = new Promise((resolve) => net.Server.prototype.close.call(server, resolve));
  for (const socket of sockets) {
    if (!socket.current && !(FAULT === "js-shut-unused" && !socket.used)) socket.destroy();
    if (FAULT === "js-shut-slow-reader" && socket.writableLength > 0) socket.destroy();
  }
  const patience = setTimeout(() => sockets.forEach((socket) => socket.destroy()), 20000);
  if (FAULT === "js-shut-unused") clearTimeout(patience);
  await closed;
  record("info", "stopped", {});
  process.exit(0);
}

import { setTimeout } from "node:timers";
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
server.listen(config.port, "127.0.0.1", () => record("info", "started", { port: config.port }));
