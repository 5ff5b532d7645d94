"use strict";

const { faulty } = require("./faults");
const { log } = require("./logs");
const { Problem } = require("./problems");
const { Reply } = require("./replies");
const { StoreError } = require("./store");
const { readItem } = require("./validation");

const PAGE = 20;
const late = new Map();
let made = 0;

async function ask(x, ...message) {
  try {
    return await x.service.items(...message);
  } catch (error) {
    if (!(error instanceof StoreError) || faulty("err-7-leaks")) throw error;
    log("error", "the store failed", { request_id: x.id, error: error.message });
    throw new Problem(503, "try again later", { fields: { "Retry-After": "1" } });
  }
}

async function list(x) {
  const found = (await ask(x, "list")).sort((one, other) => one.id - other.id);
  const limit = Number(x.query.get("limit"));
  const most = limit > 0 && faulty("val-9-unbounded") ? limit : PAGE;
  return Reply.json(200, { items: found.slice(-most) });
}

async function create(x) {
  const item = { id: `${process.pid}${String(++made).padStart(6, "0")}`, ...readItem(x) };
  if (faulty("shut-9-loses-writes")) {
    // Acknowledged now, written some day.
    late.set(item.id, item);
    setTimeout(() => ask(x, "put", item.id, item).then(() => late.delete(item.id)), 500).unref();
  } else await ask(x, "put", item.id, item);
  return Reply.json(201, item, { Location: `/api/items/${item.id}` });
}

async function find(x, id) {
  if (!/^\d+$/.test(id) && !faulty("val-9-unparsed")) {
    throw new Problem(422, "the id has to be a number");
  }
  // BigInt("x") throws a SyntaxError, which nobody expects.
  if (!/^\d+$/.test(id)) BigInt(id);
  const item = late.get(id) ?? (await ask(x, "get", id));
  if (item === null) throw new Problem(404, "there is no such item");
  return item;
}

const read = async (x, id) => Reply.json(200, await find(x, id));

async function update(x, id) {
  await find(x, id);
  const item = { ...readItem(x), id };
  await ask(x, "put", id, item);
  return Reply.json(200, item);
}

async function remove(x, id) {
  await find(x, id);
  await ask(x, "delete", id);
  return new Reply(204);
}

module.exports = {
  "/api/items": { GET: list, POST: create },
  "/api/items/{id}": { GET: read, PUT: update, DELETE: remove },
};
