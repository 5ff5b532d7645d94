"use strict";
// What the service keeps its data with: a pool, units of work, one writer at a time, and several reads at once.

const { faulty } = require("./faults");
const { Pool, StoreError } = require("./store");

const AT_ONCE = 4;

class Backing {
  #memory = new Map();
  #remembered = new Map();
  #writing = Promise.resolve();
  #keyed = new Map();

  constructor(url, patience) {
    this.pool = url ? new Pool(url, Number(process.env.ZOO_POOL ?? AT_ONCE), patience) : undefined;
  }

  async ask(do_, key, value, timeout) {
    const own = this.pool === undefined || faulty("wir-3-other-store") || faulty("env-4-falls-back");
    return own ? this.#remember(do_, key, value) : this.pool.call(do_, key, value, timeout);
  }

  #remember(do_, key, value) {
    const memory = this.#memory;
    const changes = { put: () => void memory.set(key, value), delete: () => void memory.delete(key) };
    if (do_ in changes) return changes[do_]() ?? null;
    if (do_ === "list") return [...memory.values()];
    if (do_ === "scan") return [...memory].filter(([name]) => name.startsWith(key)).map(([, found]) => found);
    if (do_ === "next") memory.set(key, (memory.get(key) ?? 0) + 1);
    if (do_ === "commit") for (const [each, name, changed] of value) this.#remember(each, name, changed);
    return memory.get(key) ?? null;
  }

  async get(key) {
    return this.#remembered.has(key) && faulty("txn-3-late") ? this.#remembered.get(key) : this.ask("get", key);
  }

  scan = (prefix) => this.ask("scan", prefix);

  /** Carry out all changes or none. */
  async commit(changes) {
    // A promise that nobody awaits.
    if (faulty("txn-2-not-awaited")) void this.ask("commit", "", changes).catch(() => {});
    else if (faulty("txn-3-late")) {
      for (const [, key, value] of changes) this.#remembered.set(key, value);
      setTimeout(() => this.ask("commit", "", changes).catch(() => {}), 300);
    } else await this.ask("commit", "", changes);
  }

  /** Run `work` as the only writer of this process. */
  async write(work) {
    const before = this.#writing;
    const { promise, resolve } = Promise.withResolvers?.() ?? deferred();
    this.#writing = promise;
    await before;
    try {
      return await work();
    } finally {
      resolve();
    }
  }

  /** Run `work` alone among those of the same name. */
  async once(name, work) {
    while (this.#keyed.has(name)) await this.#keyed.get(name).catch(() => {});
    const running = work();
    this.#keyed.set(name, running);
    try {
      return await running;
    } finally {
      this.#keyed.delete(name);
    }
  }

  /** Return the results in the order of the calls; when one fails, no further ones begin. */
  async together(calls) {
    const results = Array(calls.length);
    // Promise.all over a map begins them all.
    const places = faulty("fan-2-all-at-once") ? calls.length : faulty("fan-1-sequential") ? 1 : AT_ONCE;
    const whole = this.pool?.size;
    if (this.pool && faulty("fan-2-all-at-once")) this.pool.size = Infinity;
    let next = 0;
    let failed = false;
    const worker = async () => {
      while (next < calls.length && (!failed || faulty("fan-4-goes-on"))) {
        const at = next++;
        try {
          results[at] = await calls[at]();
        } catch (error) {
          failed = true;
          if (!faulty("fan-4-goes-on")) throw error;
          results[at] = error;
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(places, calls.length) }, worker));
    } finally {
      if (this.pool) this.pool.size = whole;
    }
    const error = results.find((one) => one instanceof Error);
    if (error) throw error;
    return results;
  }
}

function deferred() {
  let resolve;
  const promise = new Promise((settle) => (resolve = settle));
  return { promise, resolve };
}

module.exports = { Backing, StoreError };
