"use strict";

const { faulty } = require("./faults");

const PAGE = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";
const DATA = "default-src 'none'; frame-ancestors 'none'";

/** Add the fields that a response of its kind has. */
function after(x, reply) {
  const page = (reply.get("Content-Type") ?? "").startsWith("text/html");
  const error = reply.status >= 400;
  let policy = page ? PAGE : DATA;
  if (page && faulty("hdr-4-inline")) policy = policy.replace("'self'", "'self'; script-src 'self' 'unsafe-inline'");
  if (page && faulty("hdr-4-no-base")) policy = policy.replace("base-uri 'none'; ", "");
  if (faulty("hdr-3-none")) policy = policy.replace("; frame-ancestors 'none'", "");
  else reply.set("X-Frame-Options", "DENY");
  if (!faulty(page ? "hdr-4-page" : "hdr-4-data")) reply.set("Content-Security-Policy", policy);
  if (page && !faulty("hdr-9-none")) {
    reply.set("Referrer-Policy", "no-referrer");
    reply.set("Permissions-Policy", "camera=()");
    reply.set("Cross-Origin-Opener-Policy", "same-origin");
  }
  if ((x.fields["x-forwarded-proto"] === "https" || faulty("hdr-5-plain")) && !faulty("hdr-5-none")) {
    // In milliseconds it would be long; as seconds it is an hour.
    const age = faulty("hdr-5-short") ? 3600 : 31_536_000;
    reply.set("Strict-Transport-Security", `max-age=${age}; includeSubDomains`);
  }
  if (reply.get("Cache-Control") === undefined && !faulty("hdr-6-unsaid")) {
    const kept = (!error && faulty("hdr-6-public")) || (error && faulty("err-9-cached"));
    reply.set("Cache-Control", kept ? "public, max-age=60" : "no-store");
  }
  // The handler of errors begins with response.removeHeader() for all of them, as finalhandler does.
  const bare = error && (faulty("hdr-1-not-on-errors") || faulty("err-9-bare"));
  if (!bare) reply.set("X-Content-Type-Options", faulty("hdr-1-misspelt") ? "no-sniff" : "nosniff");
  if (error && faulty("hdr-2-none")) reply.remove("Content-Type");
  if (faulty("hdr-7-powered-by")) reply.set("X-Powered-By", "Express/4.18.2");
  if (faulty("hdr-10-xss")) reply.set("X-XSS-Protection", "1; mode=block");
  if (faulty("hdr-10-twice")) reply.fields.push(["X-Frame-Options", "SAMEORIGIN"]);
}

module.exports = { after };
