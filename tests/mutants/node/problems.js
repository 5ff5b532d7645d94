"use strict";

const { faulty } = require("./faults");
const { log } = require("./logs");
const { Reply } = require("./replies");

const CODES = {
  400: "BAD_REQUEST",
  401: "UNAUTHORIZED",
  404: "NOT_FOUND",
  405: "METHOD_NOT_ALLOWED",
  409: "CONFLICT",
  413: "PAYLOAD_TOO_LARGE",
  414: "URI_TOO_LONG",
  415: "UNSUPPORTED_MEDIA_TYPE",
  417: "EXPECTATION_FAILED",
  422: "VALIDATION_ERROR",
  429: "RATE_LIMITED",
  500: "INTERNAL_ERROR",
  501: "NOT_IMPLEMENTED",
  503: "UNAVAILABLE",
};

/** Thrown to answer with the one error shape (RFC 9457). */
class Problem extends Error {
  constructor(status, detail, { fields = {}, ...more } = {}) {
    super(detail);
    Object.assign(this, { status, fields, more });
  }
}

/** Return the entries of a refusal, one for each field that is wrong. */
function refuse(pointers) {
  let errors = Object.entries(pointers).map(([pointer, message]) => ({ pointer, message, code: "wrong" }));
  // As with Joi, which stops at the first unless abortEarly is off.
  if (faulty("ctl-4-first-only")) errors = errors.slice(0, 1);
  if (faulty("ecl-2-flattens")) errors = errors.map((one) => ({ ...one, pointer: `/${one.pointer.split("/")[1]}` }));
  if (faulty("ecl-2-drops")) errors = errors.map(() => ({ message: "wrong" }));
  return new Problem(422, "the values are not valid", { errors });
}

function reply(x, problem) {
  const code = CODES[problem.status] ?? "ERROR";
  const document = {
    type: "about:blank",
    title: code.replaceAll("_", " ").toLowerCase(),
    status: problem.status,
    detail: problem.message,
    code,
    request_id: x.id,
    ...problem.more,
  };
  if (problem.status === 500 && faulty("log-4-not-on-500")) delete document.request_id;
  if (faulty("ecl-1-one-code")) document.code = "ERROR";
  const made = Reply.json(problem.status, document, problem.fields, "application/problem+json");
  made.close = problem.close ?? false;
  return made;
}

/** Return what is answered to something that nothing expected. */
function broken(x, error) {
  if (faulty("err-5-exits")) process.exit(70);
  if (faulty("log-2-console")) console.error(error);
  if (!faulty("err-8-silent")) log("error", "unhandled exception", { request_id: x.id, ...cause(error) });
  if (faulty("err-8-twice")) log("error", "unhandled exception", { request_id: x.id, error: error.message });
  if (faulty("err-4-stack")) return new Reply(500, error.stack, "text/plain; charset=utf-8");
  if (faulty("err-4-message")) return reply(x, new Problem(500, error.message));
  if (faulty("ecl-3-name")) return reply(x, new Problem(500, "something went wrong", { code: error.name }));
  if (faulty("ecl-3-message")) return reply(x, new Problem(500, `something went wrong: ${error.message}`));
  // As Express has it: whoever forgets NODE_ENV is shown the stack.
  const careless = process.env.NODE_ENV !== "production" && faulty("ecl-4-unless-production");
  const debugs = process.env.APP_ENV !== "production" && faulty("env-9-debugs");
  const more = careless || debugs ? { stack: error.stack } : {};
  return reply(x, new Problem(500, "something went wrong", more));
}

const cause = (error) => (faulty("aer-5-no-cause") ? {} : { error: error.stack });

module.exports = { Problem, broken, cause, refuse, reply };
