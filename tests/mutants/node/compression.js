"use strict";
// A coding for every text that is worth one, and what stops being true by it.

const zlib = require("node:zlib");

const { faulty } = require("./faults");

const SMALLEST = 500;

/** Return the coding that the client prefers, or nothing. */
function chosen(accepted) {
  if (accepted === undefined) return faulty("cmp-5-unasked") ? "gzip" : "";
  if (faulty("cmp-3-includes")) return ["gzip", "br"].find((coding) => accepted.includes(coding)) ?? "";
  const weights = new Map(
    accepted.split(",").map((word) => {
      const [name, parameter = ""] = word.split(";");
      const weight = /^\s*q=([\d.]+)\s*$/i.exec(parameter);
      return [faulty("cmp-5-case") ? name.trim() : name.trim().toLowerCase(), weight ? Number(weight[1]) : 1];
    }),
  );
  const weightOf = (coding) => weights.get(coding) ?? weights.get("*") ?? 0;
  const best = weightOf("br") > weightOf("gzip") && !(weightOf("gzip") > 0 && faulty("cmp-5-order")) ? "br" : "gzip";
  return weightOf(best) > 0 ? best : "";
}

function worthIt(reply) {
  const type = reply.get("Content-Type") ?? "";
  const text = /^text\/|json/.test(type) || (type === "image/png" && faulty("cmp-8-images"));
  const smallest = faulty("cmp-6-tiny") ? 1 : SMALLEST;
  return text && (reply.stream !== undefined || reply.body.length >= smallest);
}

function after(x, reply) {
  if ([204, 206, 304].includes(reply.status) || !worthIt(reply)) return revalidate(x, reply);
  const accepted = x.fields["accept-encoding"];
  if (accepted?.includes("roadworthy-none") && faulty("cmp-4-unknown")) throw new Error("no such coding");
  const coding = chosen(accepted);
  if (!faulty("cmp-2-none") && (coding || !faulty("cmp-2-coded-only"))) reply.vary("Accept-Encoding");
  if (!coding || faulty("cmp-1-none")) return revalidate(x, reply);
  reply.set("Content-Encoding", coding);
  const tag = reply.get("ETag");
  if (tag && !faulty("cmp-7-same-tag")) reply.set("ETag", tag.replace(/"$/, `-${coding}"`));
  if (reply.stream) reply.stream = coded(reply.stream, coding);
  else {
    const plain = reply.body;
    reply.body = coding === "br" ? zlib.brotliCompressSync(plain, QUICK) : zlib.gzipSync(plain);
    // The length of what was there before.
    if (x.method === "HEAD" && faulty("cmp-8-plain-length")) reply.set("Content-Length", plain.length);
    if (faulty("cmp-8-twice")) reply.body = zlib.gzipSync(reply.body);
  }
  return revalidate(x, reply);
}

const QUICK = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } };

async function* coded(pieces, coding) {
  const coder = coding === "br" ? zlib.createBrotliCompress(QUICK) : zlib.createGzip();
  const made = [];
  coder.on("data", (data) => made.push(data));
  for await (const piece of pieces) {
    coder.write(piece);
    // Without it the bytes stay in the coder's own buffer.
    if (!faulty("cmp-9-no-flush")) await new Promise((resolve) => coder.flush(resolve));
    if (made.length) yield Buffer.concat(made.splice(0));
  }
  const ended = new Promise((resolve) => coder.once("end", resolve));
  coder.end();
  await ended;
  if (made.length) yield Buffer.concat(made);
}

function revalidate(x, reply) {
  const tag = reply.get("ETag");
  if (tag === undefined || x.fields["if-none-match"] !== tag || faulty("cmp-7-no-304")) return;
  Object.assign(reply, { status: 304, body: Buffer.alloc(0) });
  reply.fields = reply.fields.filter(([name]) => ["ETag", "Vary"].includes(name));
}

module.exports = { after };
