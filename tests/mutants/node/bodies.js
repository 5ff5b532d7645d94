"use strict";

const { faulty } = require("./faults");
const { Problem } = require("./problems");

const LIMIT = 1 << 20;

function tooLarge() {
  return Object.assign(new Problem(413, `the body is limited to ${LIMIT} bytes`), { close: true });
}

/** Return the bytes of a body, however they are framed. */
async function readBody(request) {
  const declared = Number(request.headers["content-length"] ?? 0);
  const limit = faulty("val-8-declared-only") ? Infinity : LIMIT;
  if (declared > LIMIT && !faulty("val-8-unlimited")) throw tooLarge();
  const chunks = [];
  let size = 0;
  // Leaving the loop would destroy the request, and its connection before the answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += chunk.length;
    if (size > limit && !faulty("val-8-unlimited")) throw tooLarge();
    chunks.push(chunk);
    // As if one "data" event brought all of it.
    if (faulty("val-0-one-chunk")) break;
  }
  return Buffer.concat(chunks);
}

/** Return the object in a body. */
function readJson(x) {
  const type = (x.fields["content-type"] ?? "").split(";", 1)[0].trim().toLowerCase();
  if (type !== "application/json" && !faulty("val-2-any-type")) throw new Problem(415, "the body has to be JSON");
  const value = parsed(x);
  // typeof null is "object", and that of a list as well.
  const object = typeof value === "object" && (faulty("val-1-null") || (value !== null && !Array.isArray(value)));
  if (!object) throw new Problem(422, "the body has to be an object");
  if (faulty("val-7-recursion")) sanitised(value);
  return value;
}

function parsed(x) {
  if (faulty("val-1-uncaught")) return JSON.parse(x.body.toString());
  try {
    // toString() puts U+FFFD where bytes are no UTF-8, and what is stored is not what was sent.
    const text = faulty("val-6-replaces") ? x.body.toString() : new TextDecoder("utf-8", { fatal: true }).decode(x.body);
    if (faulty("val-1-empty") && !text) return { name: "empty", qty: 0 };
    return JSON.parse(text);
  } catch {
    throw new Problem(faulty("ctl-4-one-status") ? 422 : 400, "the body is not JSON");
  }
}

/** Copy a value, one call deeper for each level of it. */
function sanitised(value) {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, sanitised(inner)]));
}

module.exports = { LIMIT, readBody, readJson };
