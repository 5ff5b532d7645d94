"use strict";

const { faulty } = require("./fault");
const { Problem } = require("./problem");

const LIMIT = 1 << 20;

/** Tell whether a request declares more than is taken: then nothing of it need be read. */
const declaresTooMuch = (request) => Number(request.headers["content-length"] ?? 0) > LIMIT;

const tooLarge = () => new Problem(413, `the body is limited to ${LIMIT} bytes`);

/** Return the bytes of a body, however they are framed. What is left of a refused one Node reads and drops. */
async function readBytes(request) {
  if (declaresTooMuch(request)) throw tooLarge();
  const chunks = [];
  let size = 0;
  // Leaving the loop would destroy the request, and its connection before the answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += chunk.length;
    if (size > LIMIT) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Return the JSON value in a body. */
async function readJson(request) {
  const [mediaType] = (request.headers["content-type"] ?? "").split(";", 1);
  if (mediaType.trim().toLowerCase() !== "application/json") throw new Problem(415, "the body has to be JSON");
  const bytes = await readBytes(request);
  try {
    // toString() puts U+FFFD where bytes are no UTF-8, and what is stored is not what was sent.
    const text = faulty("val-6-replaces") ? bytes.toString() : new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return JSON.parse(text);
  } catch {
    throw new Problem(400, "the body is not JSON in UTF-8");
  }
}

module.exports = { declaresTooMuch, readJson };
