"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { faulty } = require("./faults");

const LEVELS = { debug: 10, info: 20, warning: 30, error: 40 };
// Where the records of this process go by mistake; the folder is the one that a mutant is tried in.
const PATH = path.join(path.dirname(process.env.ZOO_FIRED ?? os.tmpdir()), `zoo-${process.pid}.log`);
let file;
const opened = () => fs.openSync(PATH, "a");
const QUIET = new Set(["/livez", "/readyz", "/metrics"]);

function log(level, message, fields = {}) {
  const rank = faulty("log-7-ignored") ? LEVELS.info : LEVELS[(process.env.LOG_LEVEL ?? "info").toLowerCase()];
  if (LEVELS[level] < rank) return;
  if (message === "unhandled exception" && faulty("log-8-500-info")) level = "info";
  const time = faulty("log-3-local-time") ? new Date().toISOString().slice(0, -1) : new Date().toISOString();
  const line = written({ time, level, message, ...fields });
  fs.writeSync(1, line);
  if (faulty("log-9-file")) fs.writeSync((file ??= opened()), line);
  // Opened and closed again for each record.
  if (faulty("log-9-appends")) fs.appendFileSync(PATH, line);
}

/** Return the line of a record. */
function written(record) {
  if (faulty("log-2-text")) {
    const pairs = Object.entries(record).map(([key, value]) => `${key}=${value}`);
    return `[${record.level}] ${pairs.join(" ")}\n`;
  }
  if (faulty("log-6-template")) {
    return `{${Object.entries(record).map(([key, value]) => `"${key}":"${value}"`).join(",")}}\n`;
  }
  return `${JSON.stringify(record)}\n`;
}

/** Write the record of a request. */
function access(x, reply) {
  if (QUIET.has(x.path) || faulty("log-1-none")) return;
  const fields = {
    method: x.method,
    path: faulty("log-6-template") ? decodeURIComponent(x.path) : x.path,
    status: reply.status,
    duration_ms: Math.round((performance.now() - x.began) * 1000) / 1000,
    request_id: x.id,
  };
  // request.url is the path and the query.
  if (faulty("log-5-url")) fields.path = x.target;
  if (faulty("log-5-headers")) fields.headers = x.fields;
  if (reply.status >= 400 && x.body.length && faulty("log-5-body")) fields.body = x.body.toString();
  if (faulty("log-3-no-duration")) delete fields.duration_ms;
  if (faulty("log-3-no-route")) delete fields.path;
  if (faulty("log-4-other")) fields.request_id = x.id.split("").reverse().join("");
  // One listener of "finish" and one of "close", each of which records.
  const times = faulty("log-1-finish-and-close") ? 2 : 1;
  for (let time = 0; time < times; time++) log(levelOf(reply), "request", fields);
}

const levelOf = (reply) => (reply.status >= 400 && faulty("log-8-404-error") ? "error" : "info");

module.exports = { access, log };
