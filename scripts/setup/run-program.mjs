import { spawn } from "node:child_process";
import { constants } from "node:os";
import { SetUpError } from "./say.mjs";

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {(pid: number) => void} [onStart]
 *
 * @typedef {{ readonly code: number, readonly output: string }} Outcome
 */

/** @type {readonly NodeJS.Signals[]} */
const PASSED_ON = ["SIGINT", "SIGTERM", "SIGHUP"];
const MAX_OUTPUT_CHARS = 64 * 1024;

/**
 * Runs a program without stdin and keeps what it says (the last 64 Ki characters), to be shown only
 * where it fails. A signal that arrives meanwhile is passed on, and once the program has ended it
 * ends the set-up too (by a SetUpError, so that locks are given back).
 * @param {readonly string[]} argv
 * @param {RunOptions} [options]
 * @returns {Promise<Outcome>} code 127 when the program could not be started
 */
export async function runProgram(argv, options = {}) {
  const [program = "", ...args] = argv;
  /** @type {NodeJS.Signals[]} */
  const received = [];
  /** @param {NodeJS.Signals} signal */
  const passOn = (signal) => {
    received.push(signal);
    child.kill(signal);
  };
  // Before the child exists: a signal must not end this process and leave the child and its locks.
  for (const signal of PASSED_ON) process.on(signal, passOn);
  const child = spawn(program, args, { cwd: options.cwd, env: options.env ?? process.env, stdio: ["ignore", "pipe", "pipe"] });
  if (child.pid !== undefined) options.onStart?.(child.pid);
  try {
    const outcome = await outcomeOf(child);
    const [signal] = received;
    if (signal !== undefined) throw new SetUpError(`Set-up was interrupted (${signal}).`, 128 + constants.signals[signal]);
    return outcome;
  } finally {
    for (const signal of PASSED_ON) process.off(signal, passOn);
  }
}

/**
 * @param {import("node:child_process").ChildProcessByStdio<null, import("node:stream").Readable, import("node:stream").Readable>} child
 * @returns {Promise<Outcome>}
 */
function outcomeOf(child) {
  let output = "";
  /** @param {string} text */
  const keep = (text) => {
    output = (output + text).slice(-MAX_OUTPUT_CHARS);
  };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", keep);
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: 127, output: error.message }));
    child.once("close", (code, signal) => resolve({ code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]), output }));
  });
}
