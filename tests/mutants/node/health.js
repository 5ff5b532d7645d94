"use strict";

const { faulty } = require("./faults");
const { Problem } = require("./problems");
const { Reply } = require("./replies");

const DEADLINE = 500;
let asked = 0;

async function live(x) {
  if (faulty("hlt-1-redirects")) return new Reply(302, "", "", { Location: "http://login.example/" });
  if (x.method === "HEAD" && faulty("hlt-1-no-head")) throw new Problem(405, "no HEAD", { fields: { Allow: "GET" } });
  if (++asked > 30 && faulty("hlt-7-limited")) throw new Problem(429, "too many requests", { fields: { "Retry-After": "1" } });
  if (faulty("hlt-8-says-down")) return Reply.json(200, { status: "down" });
  if (x.service.draining && faulty("shut-6-live-stops")) return Reply.json(503, { status: "down" });
  if (faulty("hlt-4-asks-store")) await x.service.ask("get", "readiness", null, DEADLINE);
  return Reply.json(200, { status: "ok" });
}

async function ready(x) {
  if (x.service.draining && !faulty("shut-6-ready-stays")) return Reply.json(503, { status: "unavailable" });
  if (faulty("hlt-3-always-ready")) return Reply.json(200, { status: "ok" });
  try {
    await x.service.ask("get", "readiness", null, faulty("hlt-6-patient") ? 30_000 : DEADLINE);
  } catch (error) {
    if (faulty("hlt-5-ignores-store")) return Reply.json(200, { status: "ok" });
    if (faulty("hlt-8-says-ok")) return Reply.json(503, { status: "ok" });
    const more = faulty("hlt-9-leaks") ? { error: error.message, dsn: process.env.DATABASE_URL } : {};
    return Reply.json(503, { status: "unavailable", ...more });
  }
  return Reply.json(200, { status: "ok" });
}

/** Answer the probes before anything else may refuse them. */
async function before(x) {
  const probe = { "/livez": live, "/readyz": ready }[x.path];
  if (probe === undefined || !["GET", "HEAD"].includes(x.method)) return undefined;
  x.route = x.path;
  const reply = await probe(x);
  reply.set("Cache-Control", faulty("hlt-7-cached") ? "public, max-age=60" : "no-store");
  return reply;
}

module.exports = { before };
