"use strict";
// The contract's routes that read or change several things.

const { readJson } = require("./bodies");
const { faulty } = require("./faults");
const { Problem, refuse } = require("./problems");
const { Reply } = require("./replies");
const { once, readUser } = require("./users");

function ids(value, name) {
  const list = value[name];
  if (!Array.isArray(list) || list.length > 1000) throw refuse({ [`/${name}`]: "has to be a list of at most 1000 ids" });
  const wrong = list.flatMap((id, at) => (Number.isSafeInteger(id) ? [] : [[`/${name}/${at}`, "has to be a whole number"]]));
  if (wrong.length) throw refuse(Object.fromEntries(wrong));
  return list;
}

async function batch(x) {
  const wanted = ids(readJson(x), "ids");
  const found = await x.service.together(wanted.map((id) => () => x.service.get(`user:${id}`)));
  // filter(Boolean) takes the places of those that are missing away.
  return Reply.json(200, { items: faulty("fan-3-filters") ? found.filter(Boolean) : found });
}

async function transfers(x) {
  const value = readJson(x);
  const wrong = ["from_user", "to_user"].filter((key) => !Number.isSafeInteger(value[key]));
  if (wrong.length) throw refuse(Object.fromEntries(wrong.map((key) => [`/${key}`, "has to be an id"])));
  const wanted = ids(value, "post_ids");
  const change = async () => {
    await readUser(x, value.from_user);
    await readUser(x, value.to_user);
    const posts = await x.service.together(wanted.map((id) => () => x.service.get(`post:${id}`)));
    const changes = [];
    for (const post of posts) {
      if (post === null) throw new Problem(404, "there is no such post");
      if (post.user_id !== value.from_user) throw new Problem(409, "a post belongs to another user", { code: "NOT_OWNER" });
      const moved = ["put", `post:${post.id}`, { ...post, user_id: value.to_user }];
      // No transaction around the loop.
      if (faulty("txn-1-one-by-one")) await x.service.commit([moved]);
      changes.push(moved);
    }
    if (faulty("txn-4-unlocked")) await new Promise((resolve) => setTimeout(resolve, 200));
    await x.service.commit(changes);
    return changes.length;
  };
  const moved = await (faulty("txn-4-unlocked") ? change() : x.service.write(change));
  return Reply.json(200, { moved });
}

module.exports = { "/api/users/batch": { POST: batch }, "/api/transfers": { POST: once(transfers) } };
