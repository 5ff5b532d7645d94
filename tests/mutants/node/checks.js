"use strict";
// Routes that exist for the check, and a page and an image.

const { createHash } = require("node:crypto");
const { setTimeout: sleep } = require("node:timers/promises");

const { faulty } = require("./faults");
const { Problem } = require("./problems");
const { Reply } = require("./replies");

const hash = (text) => createHash("sha256").update(text).digest("hex");
const LARGE = Array.from({ length: 64 }, (_, number) => hash(String(number)).repeat(128)).join("");
const IMAGE = Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), Buffer.from(hash("image").repeat(40))]);
const PAGE = "<!doctype html><html lang=en><title>Items</title><script src=/items.js></script><p>Items</p></html>";

async function slow(x) {
  const seconds = Number(x.query.get("seconds") ?? 1);
  if (!(seconds >= 0 && seconds <= 60)) throw new Problem(422, "seconds has to be between 0 and 60");
  await sleep(seconds * 1000);
  return Reply.json(200, { slept: true });
}

async function fails() {
  throw new Error("canary-77ab of an unhandled exception");
}

async function stream(x) {
  const reply = new Reply(200, "", "text/event-stream");
  reply.stream = events(x);
  return reply;
}

async function* events(x) {
  for (let number = 0; number < 8; number++) {
    if (x.service.draining && faulty("shut-2-truncates")) throw new Error("cut short");
    yield Buffer.from(`data: ${number}\n\n`);
    await sleep(100);
  }
}

const large = async () => new Reply(200, LARGE, "text/plain; charset=utf-8", { ETag: '"large-1"' });
const image = async () => new Reply(200, IMAGE, "image/png");

async function page(x) {
  const type = faulty("hdr-2-no-charset") ? "text/html" : "text/html; charset=utf-8";
  const attributes = [
    faulty("hdr-8-no-secure") ? "" : "; Secure",
    faulty("hdr-8-no-http-only") ? "" : "; HttpOnly",
    faulty("hdr-8-no-same-site") ? "" : "; SameSite=Lax",
  ];
  const kept = faulty("hdr-6-page") ? "public, max-age=60" : "no-store";
  return new Reply(200, PAGE, type, {
    "Set-Cookie": `session_id=${x.id}; Path=/${attributes.join("")}`,
    "Cache-Control": kept,
  });
}

module.exports = {
  ordinary: { "/api/page": { GET: page }, "/api/image": { GET: image } },
  made: {
    "/api/slow": { GET: slow },
    "/api/fails": { GET: fails },
    "/api/stream": { GET: stream },
    "/api/large": { GET: large },
  },
};
