#!/usr/bin/env node
// The `runyard` program. Beside `src/` (a clone) it runs the TypeScript sources directly;
// as an installed package it runs what was compiled into `dist/`.
import { existsSync } from "node:fs";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Runyard needs Node.js 20.19 or newer; this is ${process.version}. Install a newer Node.js and try again.`);
  process.exit(1);
}

try {
  process.cwd();
} catch {
  // Said here: what loads the sources below never gets to its first line there.
  console.error("error: The folder that you stand in is not there any more.\n  Go to another one (cd), and try again.");
  process.exit(1);
}

if (existsSync(new URL("../src/cli/main.ts", import.meta.url))) {
  const { registerSources } = await import("./register-sources.mjs");
  await registerSources();
  await import("../src/cli/main.ts");
} else {
  await import("../dist/cli/main.js");
}
