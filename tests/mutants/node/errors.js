"use strict";
// Methods that no route knows, and how errors look outside.

const { faulty } = require("./faults");
const { Problem } = require("./problems");
const { Reply } = require("./replies");

const KNOWN = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

const LONGEST = 8192;

function before(x) {
  if (x.target.length > LONGEST) throw new Problem(414, "the target is too long");
  if (!KNOWN.includes(x.method)) throw new Problem(501, "the method is unknown");
  if (x.method === "TRACE") {
    if (faulty("err-6-echoes-trace")) return Reply.json(200, x.fields);
    throw new Problem(405, "no TRACE", { fields: { Allow: "GET, HEAD, OPTIONS" } });
  }
  return undefined;
}

function after(x, reply) {
  // What Express answers by itself.
  if (reply.status === 404 && faulty("err-1-cannot-get")) {
    reply.body = Buffer.from(`<pre>Cannot ${x.method} this</pre>`);
    reply.set("Content-Type", "text/html; charset=utf-8");
  }
  if (reply.status === 404 && x.route === "" && faulty("err-1-200")) reply.status = 200;
  if (reply.status === 405 && faulty("err-2-no-allow")) reply.remove("Allow");
  if (reply.status === 405 && faulty("err-2-404")) reply.status = 404;
  if (reply.status === 422 && faulty("err-3-two-shapes")) {
    reply.body = Buffer.from('{"errors":["wrong"]}');
    reply.set("Content-Type", "application/json");
  }
}

module.exports = { after, before };
