"use strict";

const FAULTS = new Set((process.env.ZOO_FAULT ?? "").split(","));

/** Tell whether this process has the fault of this name: ZOO_FAULT names them, joined by commas. */
module.exports.faulty = (name) => FAULTS.has(name);
