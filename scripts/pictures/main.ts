// Makes the pictures of docs/pictures: real sessions at a pseudo terminal, at two widths. By hand:
//   node --import tsx --conditions=runyard-source scripts/pictures/main.ts
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { record } from "./record.ts";
import { screenAfter } from "./screen.ts";
import { renderSvg } from "./svg.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PROGRAM = path.join(ROOT, "packages/runyard/bin/runyard.mjs");
const SAMPLE = path.join(ROOT, "packages/runyard/assets/demo-repository");
const PICTURES = path.join(ROOT, "docs/pictures");
const WIDTHS = [80, 200];

/** A home with a plain name, because it is seen in the pictures. The demo leaves its sample there too. */
const HOME = path.join(tmpdir(), "demo-home");
const PROJECT = path.join(HOME, "src/slug");
const ENV = { PATH: `${path.join(HOME, "bin")}:${process.env["PATH"] ?? ""}`, HOME, LANG: "C.UTF-8", TMPDIR: HOME };

const SESSIONS = [
  { name: "demo", line: "runyard demo", cwd: HOME },
  { name: "doctor", line: "runyard doctor", cwd: HOME },
  { name: "run", line: 'runyard run "Fix the failing test"', cwd: PROJECT },
  { name: "error", line: 'runyard run "Fix the failing test"', cwd: HOME },
];

makeHome();
try {
  const server = await startServer();
  try {
    const wanted = SESSIONS.flatMap((session) => WIDTHS.map((columns) => ({ ...session, columns })));
    for (const session of wanted) await takePicture(session);
  } finally {
    server.kill("SIGTERM");
    await once(server, "exit");
    execFileSync("runyard", ["down"], { env: ENV, stdio: "ignore" });
  }
} finally {
  rmSync(HOME, { recursive: true, force: true });
}

/** Refuses a home that is there already: it would be somebody's. */
function makeHome(): void {
  mkdirSync(HOME, { mode: 0o755 });
  mkdirSync(path.join(HOME, "bin"));
  writeFileSync(path.join(HOME, "bin/runyard"), `#!/bin/sh\nexec '${process.execPath}' '${PROGRAM}' "$@"\n`, { mode: 0o755 });
  cpSync(SAMPLE, PROJECT, { recursive: true });
  const identity = ["-c", "user.name=Demo", "-c", "user.email=demo@runyard.invalid", "-c", "commit.gpgsign=false"];
  const git = (...words: string[]): void => void execFileSync("git", ["-C", PROJECT, ...identity, ...words]);
  git("init", "--quiet", "--initial-branch=main");
  git("add", "--all");
  git("commit", "--quiet", "--message", "A sample project with a failing test");
}

async function startServer(): Promise<ReturnType<typeof spawn>> {
  const child = spawn("runyard", ["up", "--port", "0", "--simulate", "--json"], { env: ENV, stdio: ["ignore", "pipe", "inherit"] });
  const ready = new Promise<void>((resolve) => createInterface({ input: child.stdout }).once("line", () => resolve()));
  const failed = once(child, "exit").then(() => Promise.reject(new Error("The server did not start")));
  await Promise.race([ready, failed]);
  failed.catch(() => undefined);
  return child;
}

async function takePicture({ name, line, cwd, columns }: (typeof SESSIONS)[number] & { readonly columns: number }): Promise<void> {
  const rows = screenAfter(await record({ line, cwd, env: ENV, columns }), columns);
  const file = path.join(PICTURES, `${name}-${columns}.svg`);
  writeFileSync(file, renderSvg(rows, { columns, title: `${line}, in a terminal of ${columns} columns` }));
  console.log(path.relative(ROOT, file));
}
