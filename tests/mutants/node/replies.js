"use strict";

/** What is answered: a status, fields, and a body or a stream of pieces. */
class Reply {
  constructor(status, body = Buffer.alloc(0), type = "", fields = {}) {
    Object.assign(this, { status, body: Buffer.from(body), stream: undefined, close: false });
    this.fields = [...(type ? [["Content-Type", type]] : []), ...Object.entries(fields)];
  }

  static json(status, value, fields = {}, type = "application/json") {
    return new Reply(status, JSON.stringify(value), type, fields);
  }

  get(name) {
    return this.fields.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
  }

  remove(name) {
    this.fields = this.fields.filter(([key]) => key.toLowerCase() !== name.toLowerCase());
  }

  set(name, value) {
    this.remove(name);
    this.fields.push([name, value]);
  }

  vary(name) {
    const old = this.get("Vary");
    this.set("Vary", old ? `${old}, ${name}` : name);
  }
}

module.exports = { Reply };
