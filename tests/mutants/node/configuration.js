"use strict";

const { faulty } = require("./faults");

const LEVELS = ["debug", "info", "warning", "error"];
const DEFAULTS = ["changeme", "secret", "password"];

class Misconfigured extends Error {}

/** Return the port to listen on. */
function readConfiguration() {
  const { DATABASE_URL = "tcp://127.0.0.1:1/x", ITEMS_PAGE = "20", LOG_LEVEL = "info" } = process.env;
  if (!LEVELS.includes(LOG_LEVEL.toLowerCase())) {
    if (!faulty("env-5-silent")) throw new Misconfigured(`LOG_LEVEL has to be one of ${LEVELS.join(", ")}`);
    process.env.LOG_LEVEL = "info";
  }
  if (process.env.ZOO_STRICT) checkKey(process.env.ITEMS_KEY ?? "");
  if (!/^tcp:\/\//.test(DATABASE_URL)) {
    const said = faulty("env-6-url") ? `: ${DATABASE_URL}` : "";
    if (!faulty("env-4-falls-back")) throw new Misconfigured(`DATABASE_URL is no URL of a store${said}`);
  }
  if (!/^\d+$/.test(ITEMS_PAGE) && !faulty("env-10-nothing")) throw new Misconfigured("ITEMS_PAGE has to be a number");
  return port(process.env.PORT ?? "");
}

function checkKey(key) {
  if (!key) {
    // process.env.ITEMS_KEY || "changeme"
    if (faulty("env-3-default")) return;
    throw new Misconfigured(faulty("env-3-wordless") ? "a variable is missing" : "ITEMS_KEY is missing");
  }
  if (DEFAULTS.includes(key)) {
    if (!faulty("env-7-default")) throw new Misconfigured("ITEMS_KEY is a well-known default");
  } else if ((key.length < 16 || new Set(key).size < 5) && !faulty("env-7-short")) {
    throw new Misconfigured(`ITEMS_KEY is weak${faulty("env-6-repeats") ? `: ${key}` : ""}`);
  }
}

function port(text) {
  if (/^\d{1,5}$/.test(text) && Number(text) < 65_536) return Number(text);
  // parseInt(process.env.PORT) || 0
  if (faulty("env-2-default")) return 0;
  if (faulty("env-2-status-0")) process.exit(0);
  throw new Misconfigured("PORT has to be a number from 0 to 65535");
}

module.exports = { Misconfigured, readConfiguration };
