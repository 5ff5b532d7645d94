"use strict";

const { Worker, isMainThread, parentPort } = require("node:worker_threads");

const LARGEST = 5_000_000;
const WAITING = 8;
const TIMES = 8;

/** Count the primes up to n, several times over: long enough to be felt by what waits behind it. */
function count(n) {
  let found = 0;
  for (let round = 0; round < TIMES; round++) {
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

if (!isMainThread) parentPort.on("message", (n) => parentPort.postMessage(count(n)));
else {
  const { faulty } = require("./faults");
  const { Problem, refuse } = require("./problems");
  const { Reply } = require("./replies");
  const idle = [];
  const waiting = [];
  let threads = 0;

  const start = () => {
    threads++;
    const worker = new Worker(__filename);
    // Only a task keeps the process alive, not a thread that has none.
    worker.unref();
    worker.on("message", (found) => {
      worker.task.resolve(found);
      const next = waiting.shift();
      if (next) give(worker, next);
      else idle.push(worker);
    });
    worker.once("error", (error) => {
      threads--;
      worker.task.reject(error);
      if (waiting.length) give(start(), waiting.shift());
    });
    return worker;
  };
  const give = (worker, task) => {
    worker.task = task;
    worker.postMessage(task.n);
  };
  const run = (n) =>
    new Promise((resolve, reject) => {
      const task = { n, resolve, reject };
      const most = faulty("cpu-4-one-thread") ? 1 : 2;
      const worker = idle.pop() ?? (threads < most ? start() : undefined);
      if (worker) return give(worker, task);
      if (waiting.length < WAITING || faulty("cpu-2-no-bound")) return waiting.push(task);
      const fields = faulty("cpu-2-no-retry-after") ? {} : { "Retry-After": "1" };
      return reject(new Problem(503, "there is too much to compute", { fields }));
    });

  const primes = async (x, text) => {
    const n = /^\d{1,7}$/.test(text) ? Number(text) : Infinity;
    if (n > LARGEST) throw refuse({ "path/n": "has to be between 0 and 5000000" });
    return Reply.json(200, { n, count: faulty("cpu-1-on-the-loop") ? count(n) : await run(n) });
  };
  module.exports = { "/api/primes/{n}": { GET: primes } };
}
