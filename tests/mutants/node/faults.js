"use strict";
// ZOO_FAULT names what is wrong with this process, joined by commas; behind "@" stands when it shows.

const { AsyncLocalStorage } = require("node:async_hooks");
const fs = require("node:fs");

const { CONDITIONS } = require("./conditions");

const FIRED = process.env.ZOO_FIRED;
const TRACE = process.env.ZOO_TRACE;
const SWITCHES = new Map(
  (process.env.ZOO_FAULT ?? "")
    .split(",")
    .filter(Boolean)
    .map((text) => [text.split("@", 1)[0], text.includes("@") ? text.slice(text.indexOf("@") + 1) : ""]),
);
const known = new Set();

/** Holds the exchange that the running code is about. */
const current = new AsyncLocalStorage();

/** Tell whether this process has the fault of this name, here and now. */
function faulty(name) {
  const condition = SWITCHES.get(name);
  if (condition === undefined) return traced(name);
  const x = current.getStore();
  const found = condition === "" || (x !== undefined && CONDITIONS[condition](x));
  if (found && FIRED) fs.closeSync(fs.openSync(FIRED, "a"));
  return found;
}

/** Write down under which conditions a fault could show here. */
function traced(name) {
  const x = current.getStore();
  if (!TRACE || x === undefined) return false;
  const fresh = Object.keys(CONDITIONS).filter((key) => CONDITIONS[key](x) && !known.has(`${name} ${key}`));
  for (const key of fresh) known.add(`${name} ${key}`);
  if (fresh.length) fs.appendFileSync(TRACE, fresh.map((key) => `${name} ${key}\n`).join(""));
  return false;
}

module.exports = { current, faulty };
