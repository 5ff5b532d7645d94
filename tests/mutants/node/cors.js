"use strict";
// Grants for the origins in CORS_ORIGINS, as the Fetch standard has it; none without.

const { faulty } = require("./faults");
const { Reply } = require("./replies");

const ORIGINS = (process.env.CORS_ORIGINS ?? "").split(",").filter(Boolean);
const METHODS = "GET, HEAD, POST, PUT, DELETE";
const EXPOSED = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Location";

function allowed(origin) {
  // cors({ origin: true }) of the best-known package.
  if (faulty("cor-1-reflects")) return true;
  if (origin === "null" && faulty("cor-1-null")) return true;
  if (faulty("cor-1-ends-with")) return ORIGINS.some((one) => origin.endsWith(new URL(one).host));
  // A regular expression without an end.
  if (faulty("cor-1-starts-with")) return ORIGINS.some((one) => origin.startsWith(one));
  return ORIGINS.includes(origin);
}

function grant(x, reply) {
  const origin = x.fields.origin ?? "";
  if (faulty("cor-2-star")) {
    reply.set("Access-Control-Allow-Origin", "*");
    reply.set("Access-Control-Allow-Credentials", "true");
    return true;
  }
  if (!origin || !allowed(origin)) return false;
  reply.set("Access-Control-Allow-Origin", faulty("cor-3-first-only") ? ORIGINS[0] : origin);
  if (faulty("cor-3-list")) reply.set("Access-Control-Allow-Origin", ORIGINS.join(", "));
  if (!faulty("cor-3-no-credentials")) reply.set("Access-Control-Allow-Credentials", "true");
  return true;
}

/** Answer a preflight. */
function before(x) {
  const wanted = x.fields["access-control-request-method"];
  if (x.method !== "OPTIONS" || wanted === undefined || !ORIGINS.length) return undefined;
  x.preflight = true;
  const reply = new Reply(204);
  if (faulty("cor-6-any-origin")) {
    reply.set("Access-Control-Allow-Origin", x.fields.origin ?? "*");
    reply.set("Access-Control-Allow-Credentials", "true");
  } else if (!grant(x, reply)) return reply;
  const asked = x.fields["access-control-request-headers"];
  reply.set("Access-Control-Allow-Methods", faulty("cor-5-lacks-delete") ? METHODS.replace(", DELETE", "") : METHODS);
  if (faulty("cor-6-any-method")) reply.set("Access-Control-Allow-Methods", wanted);
  reply.set("Access-Control-Allow-Headers", (asked && faulty("cor-6-any-field") && asked) || "Authorization, Content-Type");
  if (!faulty("cor-7-none")) reply.set("Access-Control-Max-Age", faulty("cor-7-words") ? "10m" : "600");
  return reply;
}

/** Grant an allowed origin, and say that the answer depends on it. */
function after(x, reply) {
  if (faulty("cor-10-star")) reply.set("Access-Control-Allow-Origin", "*");
  if (x.preflight || !ORIGINS.length) return;
  // The error handler stands before the middleware.
  if (reply.status >= 400 && faulty("cor-8-bare-errors")) return;
  const granted = grant(x, reply);
  if (!faulty("cor-4-no-vary") && (granted || !faulty("cor-4-only-when-granted"))) reply.vary("Origin");
  if (granted && !faulty("cor-9-hidden")) reply.set("Access-Control-Expose-Headers", EXPOSED);
  if (granted && faulty("cor-9-preflight-fields")) reply.set("Access-Control-Allow-Methods", METHODS);
}

module.exports = { after, before };
