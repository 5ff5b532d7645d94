"use strict";
// A client of the key-value server of the tests: one JSON object a line, one call at a time on a connection.

const net = require("node:net");

const { faulty } = require("./faults");

class StoreError extends Error {}

class Connection {
  #socket;
  #waiting;
  #text = "";

  constructor(url) {
    this.url = url;
  }

  async ask(message) {
    if (this.#socket === undefined || (this.#socket.destroyed && !faulty("pool-6-keeps-dead"))) await this.#open();
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      if (this.#socket.destroyed) return this.#fail(new StoreError("the connection is closed"));
      this.#socket.write(`${JSON.stringify({ space: this.url.pathname, ...message })}\n`);
    });
  }

  #open() {
    return new Promise((resolve, reject) => {
      this.#text = "";
      const socket = net.connect(Number(this.url.port), this.url.hostname, () => resolve());
      this.#socket = socket;
      socket.setEncoding("utf8");
      socket.on("data", (text) => this.#heard(text));
      socket.on("error", reject);
      socket.on("close", () => {
        reject(new StoreError("refused"));
        this.#fail(new StoreError("the connection broke"));
      });
    });
  }

  #heard(text) {
    this.#text += text;
    if (!this.#text.endsWith("\n")) return;
    const { value } = JSON.parse(this.#text);
    this.#text = "";
    this.#waiting?.resolve(value);
    this.#waiting = undefined;
  }

  #fail(error) {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  get used() {
    return this.#socket !== undefined;
  }

  drop() {
    this.#socket?.destroy();
  }
}

/** At most `size` connections; who finds none free waits no longer than its deadline. */
class Pool {
  #idle = [];
  #waiting = [];
  #made = 0;

  constructor(url, size, timeout) {
    Object.assign(this, { url: new URL(url), size, timeout });
  }

  async call(do_, key = "", value = null, timeout = this.timeout) {
    let late = false;
    let timer;
    let connection;
    const deadline = new Promise((_, reject) => {
      timer = setTimeout(() => {
        late = true;
        // An answer is still on its way, which the next call would take for its own.
        connection?.drop();
        reject(new StoreError("the store did not answer in time"));
      }, timeout);
    });
    const work = async () => {
      connection = await this.#take();
      try {
        if (late) throw new StoreError("too late");
        const found = await this.#again(connection, { do: do_, key, value }, () => late);
        // A return in the midst of a function that gives the connection back at its end.
        if (found === null && key !== "readiness" && faulty("pool-4-leaks")) connection = undefined;
        return found;
      } catch (error) {
        connection.drop();
        throw error instanceof StoreError ? error : new StoreError(error.message);
      } finally {
        if (connection) this.#give(connection);
      }
    };
    const working = work();
    working.catch(() => {});
    try {
      return await (faulty("err-7-no-deadline") || faulty("pool-5-waits-forever") ? working : Promise.race([working, deadline]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** A connection that broke while idle is only noticed by using it: once more on a new one. */
  async #again(connection, message, isLate) {
    const used = connection.used;
    try {
      return await connection.ask(message);
    } catch (error) {
      if (!used || isLate() || faulty("pool-6-keeps-dead")) throw error;
      connection.drop();
      return connection.ask(message);
    }
  }

  async #take() {
    if (faulty("pool-1-per-request")) return new Connection(this.url);
    if (this.#idle.length) return this.#idle.pop();
    if (this.#made < this.size || faulty("pool-2-unbounded")) {
      this.#made++;
      return new Connection(this.url);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #give(connection) {
    if (faulty("pool-1-per-request")) return connection.drop();
    const next = this.#waiting.shift();
    if (next) next(connection);
    else this.#idle.push(connection);
  }

  close() {
    for (const connection of this.#idle) connection.drop();
  }
}

module.exports = { Pool, StoreError };
