"use strict";

const { Worker, isMainThread, parentPort } = require("node:worker_threads");

const { faulty } = require("./fault");
const { Problem } = require("./problem");

const LARGEST = 5_000_000;
const THREADS = 2;
const WAITING = 8;

/** Count the primes up to n, several times over: long enough to be felt by whoever waits behind it. */
function count(n) {
  let found = 0;
  for (let round = 0; round < 8; round++) {
    const composite = new Uint8Array(n + 1);
    found = 0;
    for (let number = 2; number <= n; number++) {
      if (composite[number]) continue;
      found++;
      for (let multiple = number * number; multiple <= n; multiple += number) composite[multiple] = 1;
    }
  }
  return found;
}

/** Threads that compute; so many tasks may wait for one, and more are refused. */
class Pool {
  #idle = [];
  #waiting = [];
  #threads = new Set();

  run(n) {
    return new Promise((resolve, reject) => {
      const task = { n, resolve, reject };
      const worker = this.#idle.pop() ?? (this.#threads.size < THREADS ? this.#start() : undefined);
      if (worker) this.#give(worker, task);
      else if (this.#waiting.length < WAITING) this.#waiting.push(task);
      else reject(new Problem(503, "there is too much to compute", { headers: { "Retry-After": "1" } }));
    });
  }

  #start() {
    const worker = new Worker(__filename);
    // Only a task keeps the process alive, not a thread that has none.
    worker.unref();
    this.#threads.add(worker);
    worker.on("message", (found) => {
      worker.task.resolve(found);
      this.#next(worker);
    });
    // A thread ends by itself only when it failed: its own task fails with it, and another takes its place.
    worker.once("error", (error) => {
      this.#threads.delete(worker);
      worker.task.reject(error);
      if (this.#waiting.length) this.#next(this.#start());
    });
    return worker;
  }

  #give(worker, task) {
    worker.task = task;
    worker.postMessage(task.n);
  }

  #next(worker) {
    const task = this.#waiting.shift();
    if (task) this.#give(worker, task);
    else this.#idle.push(worker);
  }
}

if (isMainThread) {
  const pool = new Pool();

  module.exports.primes = async (_request, text) => {
    const n = /^\d{1,7}$/.test(text) ? Number(text) : Infinity;
    if (n > LARGEST) throw new Problem(422, `n has to be between 0 and ${LARGEST}`);
    return { value: { n, count: faulty("cpu-1-on-the-loop") ? count(n) : await pool.run(n) } };
  };
} else {
  parentPort.on("message", (n) => parentPort.postMessage(count(n)));
}
