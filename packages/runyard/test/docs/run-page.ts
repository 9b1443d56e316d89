import { spawn } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Fence } from "./markdown.ts";

const NODE_MODULES = fileURLToPath(new URL("../../../../node_modules", import.meta.url));
const TSX = import.meta.resolve("tsx");

/** What a remark before a fence says about how it is run. */
export type Way =
  | { readonly how: "run"; readonly exits: number; readonly answered: "allow" | "deny" | null; readonly clean: boolean }
  | { readonly how: "not run"; readonly reason: string };

/** Reads a remark: `not run: <reason>`, `exits <code>`, `answered: allow`, `in a clean working tree`. Throws for others. */
export function wayOf(remark: string | null): Way {
  const plain = { how: "run", exits: 0, answered: null, clean: false } as const;
  if (remark === null) return plain;
  const [, reason] = /^not run: (.{10,})$/.exec(remark) ?? [];
  if (reason !== undefined) return { how: "not run", reason };
  const [, code] = /^exits ([1-9]\d{0,2})$/.exec(remark) ?? [];
  if (code !== undefined) return { ...plain, exits: Number(code) };
  const [, answered] = /^answered: (allow|deny)$/.exec(remark) ?? [];
  if (answered === "allow" || answered === "deny") return { ...plain, answered };
  if (remark === "in a clean working tree") return { ...plain, clean: true };
  throw new Error(`"${remark}" says nothing about how a block is run`);
}

export interface Block extends Fence {
  readonly way: Way;
}

export interface Surroundings {
  /** An empty folder for what the page is made into. */
  readonly folder: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** After which the page is ended, with all that it started and that did not leave it. */
  readonly timeoutMs: number;
  /** Told of each block when its turn comes. */
  readonly onBegin?: (block: Block) => void;
}

/** Runs the blocks of a page one after the other in one bash; rejects with the block that failed and all that was said. */
export async function runPage(blocks: readonly Block[], { folder, cwd, env, timeoutMs, onBegin }: Surroundings): Promise<void> {
  const files = path.join(folder, "blocks");
  mkdirSync(files);
  symlinkSync(NODE_MODULES, path.join(folder, "node_modules"));
  const script = blocks.map((block, index) => commandsFor(block, { file: path.join(files, `${index}`), index })).join("");
  const main = path.join(files, "page.sh");
  writeFileSync(main, `set -eu -o pipefail\n${script}`);

  const child = spawn("bash", ["--noprofile", "--norc", main], { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe", "pipe"] });
  const timer = setTimeout(() => child.pid !== undefined && process.kill(-child.pid, "SIGKILL"), timeoutMs);
  let said = "";
  let current: Block | undefined;
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding("utf8").on("data", (text: string) => (said += text));
  createInterface({ input: child.stdio[3] as Readable }).on("line", (index) => {
    current = blocks[Number(index)];
    if (current !== undefined) onBegin?.(current);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).finally(() => clearTimeout(timer));
  if (code !== 0)
    throw new Error(
      `The block of line ${current?.line} failed (${code ?? "it took too long"}):\n${current?.code}\nIt said:\n${said.slice(-4_000)}`,
    );
}

function commandsFor(block: Block, { file, index }: { readonly file: string; readonly index: number }): string {
  const { way, language, code } = block;
  if (way.how === "not run") return "";
  const isShell = language === "sh";
  const name = `${file}.${isShell ? "sh" : "mts"}`;
  writeFileSync(name, code);
  const words = isShell ? `. '${name}'` : `node --import '${TSX}' --conditions=runyard-source '${name}'`;
  return [
    `echo ${index} >&3`,
    ...(way.clean ? ["git checkout --quiet ."] : []),
    // Only a block that is to fail has a shell of its own: variables of the others are seen by those behind them.
    ...(way.exits === 0
      ? [words]
      : [
          "set +e",
          `( set -eu -o pipefail; ${words} )`,
          `[ $? -eq ${way.exits} ] || { echo 'not the exit code ${way.exits}' >&2; exit 1; }`,
          "set -e",
        ]),
    "",
  ].join("\n");
}
