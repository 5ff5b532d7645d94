"use strict";

const { STATUS_CODES } = require("node:http");

/** Thrown to answer with the one error shape (RFC 9457). */
class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} detail for the client: it never repeats what was sent, nor what is inside
   * @param {{headers?: object, errors?: {pointer: string, message: string}[]}} more
   */
  constructor(status, detail, { headers = {}, ...more } = {}) {
    super(detail);
    Object.assign(this, { status, headers, more });
  }

  /** Return the document that tells a client of this. */
  document(requestId) {
    const title = STATUS_CODES[this.status];
    return {
      type: "about:blank",
      title,
      status: this.status,
      detail: this.message,
      code: title.toUpperCase().replaceAll(" ", "_"),
      request_id: requestId,
      ...this.more,
    };
  }
}

module.exports = { Problem };
