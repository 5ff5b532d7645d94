"use strict";
// ZOO_RATE_LIMIT=20/2 admits 20 requests of each client in 2 seconds; without it there is no limit.

const { setTimeout: sleep } = require("node:timers/promises");

const { faulty } = require("./faults");
const { Problem } = require("./problems");
const { Reply } = require("./replies");
const { Pool } = require("./store");

const [LIMIT, WINDOW] = (process.env.ZOO_RATE_LIMIT || "0/0").split("/").map(Number);
const KEY = process.env.ZOO_RATE_LIMIT_KEY ?? "";
const WORKERS = Number(process.env.WEB_CONCURRENCY ?? 1);
const counts = new Map();
const banned = new Map();
// By the store, and by the clock, so that every worker has the same window.
const shared = LIMIT && WORKERS > 1 ? new Pool(`${process.env.DATABASE_URL}-limits`, 4, 15_000) : undefined;

function exempt(x) {
  if (x.path === "/livez" || x.path === "/readyz") return !faulty("rtl-9-limits-health");
  if (x.path === "/metrics") return !faulty("rtl-9-limits-metrics");
  return x.method === "OPTIONS" && !faulty("rtl-9-limits-preflights");
}

function keyOf(x) {
  // The address of the proxy, as it is where "trust proxy" is not set.
  if (faulty("rtl-8-one-for-all")) return "everybody";
  const forwarded = x.fields["x-forwarded-for"];
  // app.set("trust proxy", true) takes the leftmost.
  if (forwarded !== undefined && faulty("rtl-7-trusts-all")) return forwarded.split(",")[0];
  const hops = Number(process.env.ZOO_TRUSTED_HOPS ?? 0);
  const named = x.fields[KEY];
  if (named !== undefined || !hops) return named ?? x.peer;
  const addresses = (forwarded ?? x.peer).split(",");
  return addresses.at(-Math.min(hops, addresses.length)).trim();
}

/** Return how many requests are left after this one, below zero when it is refused, and the wait in seconds. */
async function count(key) {
  const limit = LIMIT + Number(faulty("rtl-2-one-more"));
  if (shared && !faulty("rtl-6-per-process")) {
    const now = Date.now() / 1000;
    const window = Math.floor(now / WINDOW);
    const used = await shared.call("next", `${key}/${window}`);
    return [limit - used, (window + 1) * WINDOW - now];
  }
  const now = performance.now() / 1000;
  let [start, used] = counts.get(key) ?? [now, 0];
  if (now - start >= WINDOW) [start, used] = [now, 0];
  // Read, wait for something, write: who comes meanwhile reads the same number.
  if (faulty("rtl-2-race")) await sleep(2);
  counts.set(key, [start, used + 1]);
  return [limit - used - 1, start + WINDOW - now];
}

async function before(x) {
  if (!LIMIT || exempt(x)) return undefined;
  const key = keyOf(x);
  const [left, wait] = await count(key);
  x.limit = { left, wait };
  if ((left >= 0 && !(banned.get(key) > performance.now())) || faulty("rtl-1-never")) return undefined;
  if (faulty("rtl-4-bans") && !banned.has(key)) banned.set(key, performance.now() + 3000 * WINDOW);
  // What looks like a probe is not recorded.
  if (faulty("rtl-10-silent")) x.path = "/livez";
  const seconds = faulty("rtl-3-at-once") ? 0 : faulty("rtl-3-millis") ? Math.ceil(wait * 1000) : Math.max(Math.ceil(wait), 1);
  const fields = faulty("rtl-3-never-says-when") ? {} : { "Retry-After": String(seconds) };
  if (faulty("rtl-3-plain")) return new Reply(429, "Too many requests, please try again later.", "text/html; charset=utf-8", fields);
  throw new Problem(429, "that was too much", { fields });
}

async function signIn(x) {
  try {
    JSON.parse(x.body.toString());
  } catch {
    throw new Problem(400, "the body is not JSON");
  }
  // skipFailedRequests of the best-known package.
  if (LIMIT && faulty("rtl-10-skips-failed")) {
    const [start, used] = counts.get(keyOf(x)) ?? [0, 1];
    counts.set(keyOf(x), [start, used - 1]);
  }
  throw new Problem(401, "name or password is wrong", { fields: { "WWW-Authenticate": 'Password realm="zoo"' } });
}

/** Tell the client where it stands. */
function after(x, reply) {
  if (x.limit === undefined) return;
  const left = faulty("rtl-5-always-full") ? LIMIT - 1 : Math.max(x.limit.left, 0);
  reply.set("RateLimit-Policy", `"default";q=${LIMIT};w=${WINDOW}`);
  reply.set("RateLimit", `"default";r=${left};t=${Math.max(Math.ceil(x.limit.wait), 1)}`);
}

module.exports = { after, before, routes: { "/api/login": { POST: signIn } } };
