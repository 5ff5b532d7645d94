"use strict";
// The way of a request through the service, and of its answer back.

const { randomUUID } = require("node:crypto");

const { Backing, StoreError } = require("./backing");
const { readBody } = require("./bodies");
const checks = require("./checks");
const compression = require("./compression");
const cors = require("./cors");
const errors = require("./errors");
const { faulty } = require("./faults");
const health = require("./health");
const limits = require("./limits");
const { access, log } = require("./logs");
const metrics = require("./metrics");
const { Problem, broken, cause, refuse, reply: told } = require("./problems");
const protection = require("./protection");
const { Reply } = require("./replies");

const BEFORE = [limits, errors, cors, metrics, health];
const AFTER = [errors, limits, cors, protection, compression];
const MOST = 2 ** 53 - 1;

class Service extends Backing {
  draining = false;
  began = performance.now();
  #routes;

  constructor(production) {
    const limited = Boolean(process.env.ZOO_RATE_LIMIT);
    super(process.env.DATABASE_URL, limited ? 15_000 : 2000);
    const tables = [require("./items"), require("./together"), require("./users").routes, require("./primes")];
    tables.push(checks.ordinary, limits.routes, ...(production ? [] : [checks.made]));
    this.#routes = tables.flatMap(Object.entries).map(([template, handlers]) => {
      const pattern = template.replaceAll(/\{\w+\}/g, "([^/]+)");
      return { template, handlers, pattern: new RegExp(`^${pattern}$`) };
    });
  }

  items = (...message) => this.ask(...message);

  /** Answer an exchange; everything that is wrong becomes an answer, too. */
  async handle(x, request) {
    let reply;
    try {
      x.id = identify(x);
      x.body = await readBody(request);
      reply = await this.#answer(x);
    } catch (error) {
      reply = this.#failed(x, error);
    }
    x.reply = reply;
    try {
      for (const part of AFTER) part.after(x, reply);
    } catch (error) {
      reply = x.reply = broken(x, error);
    }
    if (!faulty("log-4-none") && !(reply.status === 500 && faulty("log-4-not-on-500"))) reply.set("X-Request-Id", x.id);
    access(x, reply);
    await metrics.done(x, reply);
    return reply;
  }

  async #answer(x) {
    for (const part of BEFORE) {
      const reply = await part.before(x);
      if (reply) return reply;
    }
    // "batch" is no id: literal paths come first.
    const found = this.#routes.filter(({ pattern }) => pattern.test(x.path));
    const [route] = found.sort((one, other) => one.template.includes("{") - other.template.includes("{"));
    if (route === undefined) throw new Problem(404, "there is nothing here");
    x.route = route.template;
    if (performance.now() - this.began < 800 && faulty("wir-1-too-early")) throw new Error("there is no such table");
    const { handlers } = route;
    const heads = "GET" in handlers ? ["HEAD"] : [];
    const Allow = [...Object.keys(handlers), ...heads, "OPTIONS"].join(", ");
    if (x.method === "OPTIONS" && faulty("err-6-options-404")) throw new Problem(404, "there is nothing here");
    if (x.method === "OPTIONS") return new Reply(204, "", "", { Allow });
    const method = x.method === "HEAD" && !faulty("err-6-no-head") ? "GET" : x.method;
    if (!Object.hasOwn(handlers, method)) {
      const fields = { Allow: faulty("err-2-short-allow") ? "GET" : Allow };
      throw new Problem(405, "the method is not possible here", { fields });
    }
    return handlers[method](x, ...route.pattern.exec(x.path).slice(1).map((text) => this.#id(route, text)));
  }

  #id(route, text) {
    if (!route.template.startsWith("/api/users/{id}")) return text;
    if (!/^\d{1,16}$/.test(text) || Number(text) < 1 || Number(text) > MOST) {
      throw refuse({ "path/id": "has to be a whole number" });
    }
    return String(Number(text));
  }

  #failed(x, error) {
    if (error instanceof Problem) return told(x, error);
    if (!(error instanceof StoreError) || x.route.startsWith("/api/items")) return broken(x, error);
    // A catch that answers as if nothing had been.
    if (faulty("aer-2-swallows")) return Reply.json(x.method === "POST" ? 201 : 200, { id: 1, items: [] });
    log("error", "the store failed", { request_id: faulty("aer-1-no-id") ? "" : x.id, ...cause(error) });
    if (faulty("aer-1-rethrows")) log("error", "the request failed", { request_id: x.id, ...cause(error) });
    if (x.route.endsWith("overview") && faulty("aer-3-own-catch")) return new Reply(503, "try again", "text/plain; charset=utf-8");
    return told(x, new Problem(503, "try again later", { fields: { "Retry-After": "1" } }));
  }
}

function identify(x) {
  const given = x.fields["x-request-id"];
  if (given && faulty("log-4-echo")) return given;
  return randomUUID();
}

module.exports = { Service };
