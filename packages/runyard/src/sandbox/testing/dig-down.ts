import { execFileSync } from "node:child_process";

/** As a program: each step goes down from where the last one led, so that no path that is named is long. */
const DIG_DOWN = `
  const { mkdirSync, writeFileSync } = require("node:fs");
  const [levels, last, bytes] = process.argv.slice(1);
  for (let n = 0; n < Number(levels); n += 1) { mkdirSync("d".repeat(200)); process.chdir("d".repeat(200)); }
  writeFileSync(last, Buffer.alloc(Number(bytes), 1));`;

/** Makes a file that lies deeper below a directory than a path can be long. */
export function digDown(dir: string, { levels, last, bytes }: { levels: number; last: string; bytes: number }): void {
  execFileSync(process.execPath, ["-e", DIG_DOWN, String(levels), last, String(bytes)], { cwd: dir });
}
