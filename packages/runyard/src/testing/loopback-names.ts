import { writeFileSync } from "node:fs";
import path from "node:path";

/**
 * Arguments for a Node.js process in which all names below `.example` are this machine's loopback, as a file of hosts
 * would have it: nobody serves them anywhere (RFC 2606). `dir` is for the program that does it.
 */
export function loopbackNames(dir: string): string[] {
  const file = path.join(dir, "loopback-names.cjs");
  const program = `
const dns = require("node:dns");
const { lookup } = dns;
dns.lookup = (name, ...rest) => lookup(name.endsWith(".example") ? "127.0.0.1" : name, ...rest);
require("node:module").syncBuiltinESMExports();
`;
  writeFileSync(file, program);
  return ["--require", file];
}
