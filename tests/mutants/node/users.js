"use strict";
// The contract's users and their posts.

const { createHash } = require("node:crypto");

const { readJson } = require("./bodies");
const { faulty } = require("./faults");
const { Problem, refuse } = require("./problems");
const { Reply } = require("./replies");

const CREATED = "2026-01-01T00:00:00Z";
const overviews = new Map();

/** Return the texts of the body. */
function texts(x, most) {
  const value = readJson(x);
  const wrong = {};
  for (const [name, length] of Object.entries(most)) {
    const text = value[name];
    const valid = typeof text === "string" && text.length >= 1 && [...text].length <= length && !text.includes("\0");
    if (!valid) wrong[`/${name}`] = `has to be a text of 1 to ${length} characters`;
  }
  for (const name of Object.keys(value)) if (!(name in most)) wrong[`/${name}`] = "is unknown";
  if (!Object.keys(wrong).length && "email" in most && !value.email.includes("@")) wrong["/email"] = "has to be an address";
  if (Object.keys(wrong).length) throw refuse(wrong);
  return value;
}

async function user(x, id) {
  const found = await x.service.get(`user:${id}`);
  if (found === null) {
    const code = x.method === "PUT" && faulty("ecl-1-by-route") ? { code: "USER_GONE" } : {};
    throw new Problem(404, "there is no such user", code);
  }
  return found;
}

/** Return one page of users, or of a user's posts. */
async function page(x, prefix, owner) {
  const limit = x.query.get("limit") ?? (faulty("ctl-6-unbounded") ? "1000000" : "20");
  const cursor = x.query.get("cursor") ?? "0";
  if (!/^[1-9]\d{0,6}$/.test(limit) || (limit > 100 && !faulty("ctl-6-unbounded"))) {
    throw refuse({ "query/limit": "has to be between 1 and 100" });
  }
  if (!/^\d{1,15}$/.test(cursor)) throw refuse({ "query/cursor": "is none of this list" });
  const all = (await x.service.scan(prefix))
    .filter((one) => owner === undefined || one.user_id === owner)
    .sort((one, other) => one.id - other.id);
  const offset = faulty("ctl-6-offset");
  const rest = offset ? all.slice(Number(cursor)) : all.filter((one) => one.id > Number(cursor));
  const chosen = rest.slice(0, Number(limit));
  const next = offset ? Number(cursor) + chosen.length : chosen.at(-1)?.id;
  return Reply.json(200, { items: chosen, next_cursor: rest.length > chosen.length ? String(next) : null });
}

async function checkFree(x, email, owner) {
  const taken = await x.service.get(`email:${email}`);
  if (taken === null || taken === owner) return;
  // The driver's own error.
  if (faulty("ctl-5-500")) throw new Error("UNIQUE constraint failed: users.email");
  if (x.method === "PUT" && faulty("svc-1-own-check")) throw new Problem(400, "the address is taken");
  throw new Problem(409, "the address is taken", { code: "EMAIL_TAKEN" });
}

async function create(x) {
  const value = texts(x, { name: 100, email: 254 });
  const made = await x.service.write(async () => {
    await checkFree(x, value.email, null);
    const id = await x.service.ask("next", "users");
    const row = { id, ...value, created_at: CREATED };
    await x.service.commit([["put", `user:${id}`, row], ["put", `email:${value.email}`, id]]);
    return row;
  });
  const location = faulty("ctl-2-no-location") ? {} : { Location: `/api/users/${made.id}` };
  return Reply.json(faulty("ctl-1-create-200") ? 200 : 201, made, location);
}

async function read(x, id) {
  if (faulty("ctl-3-null")) return Reply.json(200, await x.service.get(`user:${id}`));
  const found = await user(x, id);
  return Reply.json(200, faulty("svc-3-row") ? { ...found, password_hash: "x" } : found);
}

async function replace(x, id) {
  const value = texts(x, { name: 100, email: 254 });
  const row = await x.service.write(async () => {
    const old = await user(x, id);
    if (faulty("ctl-5-changes")) await x.service.commit([["put", `user:${id}`, { ...old, name: value.name }]]);
    await checkFree(x, value.email, old.id);
    const changed = { ...old, ...value };
    await x.service.commit([
      ["delete", `email:${old.email}`, null],
      ["put", `user:${id}`, changed],
      ["put", `email:${value.email}`, old.id],
    ]);
    return changed;
  });
  return Reply.json(200, row);
}

async function remove(x, id) {
  await x.service.write(async () => {
    const found = await user(x, id);
    const posts = (await x.service.scan("post:")).filter((post) => post.user_id === found.id);
    const children = posts.map((post) => ["delete", `post:${post.id}`, null]);
    if (faulty("txn-5-two-units")) for (const child of children) await x.service.commit([child]);
    const own = [["delete", `user:${id}`, null], ["delete", `email:${found.email}`, null]];
    await x.service.commit(faulty("txn-5-orphans") ? own : [...children, ...own]);
  });
  return faulty("ctl-1-delete-200") ? Reply.json(200, {}) : new Reply(204);
}

async function posts(x, id) {
  await user(x, id);
  return page(x, "post:", Number(id));
}

async function createPost(x, id) {
  const value = texts(x, { title: 200, body: 10_000 });
  const post = await x.service.write(async () => {
    if (faulty("svc-1-unchecked") && (await x.service.get(`user:${id}`)) === null) {
      throw new Problem(422, "the user is wrong");
    }
    const owner = await user(x, id);
    const row = { id: await x.service.ask("next", "posts"), user_id: owner.id, ...value, created_at: CREATED };
    await x.service.commit([["put", `post:${row.id}`, row]]);
    return row;
  });
  return Reply.json(201, post, { Location: `/api/users/${id}/posts/${post.id}` });
}

async function readPost(x, id, number) {
  const post = await x.service.get(`post:${number}`);
  if (post === null || post.user_id !== Number(id)) throw new Problem(404, "there is no such post");
  return Reply.json(200, post);
}

/** Both at the same time. */
async function overview(x, id) {
  if (overviews.has(id) && faulty("svc-2-stale")) return Reply.json(200, overviews.get(id));
  const owned = async () => (await x.service.scan("post:")).filter((post) => post.user_id === Number(id)).slice(0, 20);
  const [owner, mine] = await x.service.together([() => user(x, id), owned]);
  const found = { user: faulty("svc-3-overview") ? { ...owner, internal_rank: 7 } : owner, posts: mine };
  overviews.set(id, found);
  return Reply.json(200, found);
}

/** Carry out a creation with an idempotency key once, and repeat what was answered. */
function once(handler) {
  return async (x, ...ids) => {
    const key = x.fields["idempotency-key"];
    if (!key || faulty("txn-6-ignores")) return handler(x, ...ids);
    const name = `answer:${x.path}:${key}`;
    const digest = createHash("sha256").update(x.body).digest("hex");
    // Whoever looks first and writes afterwards lets two through.
    const alone = faulty("txn-6-race") ? (work) => work() : (work) => x.service.once(name, work);
    const known = await alone(async () => {
      const old = await x.service.get(name);
      if (old !== null) return old;
      const reply = await handler(x, ...ids);
      const fresh = { digest, status: reply.status, body: reply.body.toString(), location: reply.get("Location") };
      await x.service.commit([["put", name, fresh]]);
      return fresh;
    });
    if (known.digest !== digest) throw new Problem(422, "the key was used for another request", { code: "KEY_REUSED" });
    const fields = known.location ? { Location: known.location } : {};
    return new Reply(known.status, known.body, "application/json", fields);
  };
}

module.exports = {
  once,
  readUser: user,
  routes: {
    "/api/users": { GET: (x) => page(x, "user:"), POST: once(create) },
    "/api/users/{id}": { GET: read, PUT: replace, DELETE: remove },
    "/api/users/{id}/overview": { GET: overview },
    "/api/users/{id}/posts": { GET: posts, POST: once(createPost) },
    "/api/users/{id}/posts/{post}": { GET: readPost },
  },
};
