"use strict";

const { readJson } = require("./bodies");
const { faulty } = require("./faults");
const { Problem } = require("./problems");

const FIELDS = ["name", "qty"];

/** Return the item in a request's body. */
function readItem(x) {
  const value = readJson(x);
  // String(undefined) is a text, and Number("") is 0.
  if (faulty("val-3-coerces")) Object.assign(value, { name: String(value.name), qty: Number(value.qty) || 0 });
  if (faulty("val-3-defaults")) {
    value.name ??= "unnamed";
    value.qty ??= 0;
  }
  const errors = [];
  if (!isName(value.name)) errors.push(entry("/name", value.name, "has to be a text of 1 to 100 characters"));
  if (!isQuantity(value.qty)) errors.push(entry("/qty", value.qty, "has to be a whole number"));
  const spreads = faulty("val-4-spreads");
  const unknown = Object.keys(value).filter((name) => !FIELDS.includes(name));
  if (unknown.length && !spreads) errors.push(entry("", unknown, "has fields that are unknown"));
  if (errors.length) throw new Problem(422, "the item is not valid", faulty("val-10-unnamed") ? {} : { errors });
  return spreads ? { ...value, ...kept(value) } : kept(value);
}

function isName(name) {
  // The length in UTF-16 code units.
  if (typeof name !== "string" || name.length < 1) return false;
  return [...name].length <= 100;
}

function isQuantity(qty) {
  // JSON.parse rounds above 2^53: that a number was rounded shows in its size alone.
  return (faulty("val-5-rounds") ? Number.isInteger(qty) : Number.isSafeInteger(qty)) && qty >= 0;
}

function kept({ name, qty }) {
  // A schema with `trim: true` and `lowercase: true`.
  if (faulty("val-0-lowercase")) name = name.toLowerCase();
  if (faulty("val-6-strips-nul")) name = name.replaceAll("\0", "");
  // Bitwise operators make it 32 bits.
  if (faulty("val-5-bitwise")) qty |= 0;
  return { name, qty };
}

function entry(pointer, value, message) {
  const said = faulty("val-10-echoes") ? `${message}, not ${JSON.stringify(value)}` : message;
  return { pointer, message: said };
}

module.exports = { readItem };
