"use strict";

const { readJson } = require("./body");
const { faulty } = require("./fault");
const { Problem } = require("./problem");

const PAGE = 20;
const FIELDS = {
  name: {
    valid: (value) => typeof value === "string" && value.length >= 1 && value.length <= 200 && [...value].length <= 100,
    message: "has to be a text of 1 to 100 characters",
  },
  qty: {
    // JSON.parse rounds above 2^53: whether a number was rounded can be told by its size alone.
    valid: (value) => (faulty("val-5-rounds") ? Number.isInteger(value) : Number.isSafeInteger(value)) && value >= 0,
    message: "has to be a whole number from 0 to 2^53 - 1",
  },
};

const items = new Map();
let made = 0;

/** Return the item in a request's body, or refuse it with one entry for each field that is wrong. */
async function readItem(request) {
  const value = await readJson(request);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem(422, "the body has to be an object");
  }
  const errors = Object.entries(FIELDS)
    .filter(([name, field]) => !field.valid(Object.hasOwn(value, name) ? value[name] : undefined))
    .map(([name, field]) => ({ pointer: `/${name}`, message: field.message }));
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(FIELDS, name));
  // The name of an unknown field was sent by the client, too, and may be anything.
  if (unknown.length && !faulty("val-4-pollutes")) errors.push({ pointer: "", message: "has fields that are unknown" });
  if (errors.length) throw new Problem(422, "the item is not valid", { errors });
  return faulty("val-4-pollutes") ? merge({}, value) : { name: value.name, qty: value.qty };
}

/** Merge deeply, as many a library once did: the keys "__proto__" and "constructor" lead out of the target. */
function merge(target, source) {
  for (const [key, value] of Object.entries(source)) {
    if (typeof value === "object" && value !== null) merge((target[key] ??= {}), value);
    else target[key] = value;
  }
  return target;
}

function find(id) {
  if (!/^\d+$/.test(id)) throw new Problem(422, "the id has to be a number");
  const item = items.get(id);
  if (item === undefined) throw new Problem(404, "there is no such item");
  return item;
}

/** What an item looks like outside; for...in also visits what a polluted prototype has. */
function shown(item) {
  if (!faulty("val-4-pollutes")) return item;
  const copy = {};
  for (const key in item) copy[key] = item[key];
  return copy;
}

const list = async () => ({ value: { items: [...items.values()].slice(-PAGE).map(shown) } });

async function create(request) {
  const item = { ...(await readItem(request)), id: `${process.pid}${String(++made).padStart(6, "0")}` };
  items.set(item.id, item);
  return { status: 201, value: shown(item), headers: { Location: `/api/items/${item.id}` } };
}

const read = async (_request, id) => ({ value: shown(find(id)) });

async function update(request, id) {
  find(id);
  const item = { ...(await readItem(request)), id };
  // Deleted while the body was being read: an update must not bring it back.
  find(id);
  items.set(id, item);
  return { value: item };
}

async function remove(_request, id) {
  find(id);
  items.delete(id);
  return { status: 204 };
}

module.exports = { list, create, read, update, remove };
