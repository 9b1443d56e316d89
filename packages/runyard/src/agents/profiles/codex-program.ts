import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import {
  findScript,
  isNative,
  missingScript,
  onPath,
  packageAt,
  packageSeenFrom,
  realProgram,
  type ScriptPackage,
} from "./installed-program.ts";

export const ADAPTER: ScriptPackage = {
  title: "Codex's adapter for ACP",
  name: "@agentclientprotocol/codex-acp",
  install: "npm install -g @agentclientprotocol/codex-acp@2.6.0",
  script: "dist/index.js",
  command: "codex-acp",
  variable: "RUNYARD_CODEX_ACP",
};
const CODEX = "@openai/codex";
const HOW_TO_INSTALL_CODEX =
  "Install it (npm install -g @openai/codex), or set RUNYARD_CODEX to its program or to a folder with its node_modules.";

export interface CodexInstallation {
  /** The adapter's program, a script for Node, and the folder that it needs. */
  readonly adapter: string;
  readonly adapterFolder: string;
  readonly adapterVersion: string;
  /** Codex's native program, and the folder with what belongs to it. */
  readonly codex: string;
  readonly codexFolder: string;
}

export type FoundCodex = { readonly found: CodexInstallation; readonly reason: null } | { readonly found: null; readonly reason: string };

/**
 * Finds the adapter by which Codex speaks ACP (`RUNYARD_CODEX_ACP` where it is set, else `PATH`, else the
 * node_modules around Runyard) and Codex itself (`RUNYARD_CODEX` where it is set, else `PATH`, else the one
 * that came with the adapter).
 */
export function findCodex(env: NodeJS.ProcessEnv): FoundCodex {
  const adapter = findScript(ADAPTER, env);
  if (adapter === null) return { found: null, reason: missingScript(ADAPTER, env) };
  const codex = findCodexProgram(env, adapter.script);
  if (codex === null) {
    const named = env["RUNYARD_CODEX"];
    const what = named ? `RUNYARD_CODEX is ${named}, and no codex for this machine is there.` : "Codex itself is not installed.";
    return { found: null, reason: `${what} ${HOW_TO_INSTALL_CODEX}` };
  }
  const { script, folder, version } = adapter;
  return { found: { adapter: script, adapterFolder: folder, adapterVersion: version, codex, codexFolder: folderOf(codex) }, reason: null };
}

function findCodexProgram(env: NodeJS.ProcessEnv, adapter: string): string | null {
  const named = env["RUNYARD_CODEX"];
  if (named) return nativeProgram(named) ?? programInFolder(named);
  for (const file of onPath("codex", env)) {
    const program = nativeProgram(file);
    if (program !== null) return program;
  }
  const bundled = packageSeenFrom(adapter, CODEX);
  return bundled === null ? null : programOfPackage(bundled);
}

/** The program itself where it is native, the one of the platform's package where it is npm's script. */
function nativeProgram(file: string): string | null {
  const real = realProgram(file);
  if (real === null) return null;
  return isNative(real) ? real : programOfPackage(path.dirname(path.dirname(real)));
}

/** A folder may be the package, a node_modules, or what holds one. */
function programInFolder(folder: string): string | null {
  for (const place of [folder, path.join(folder, CODEX), path.join(folder, "node_modules", CODEX)]) {
    const program = programOfPackage(place);
    if (program !== null) return program;
  }
  return null;
}

/** The program that belongs to the package at `root`: its own, or that of the platform's package as the package finds it. */
function programOfPackage(root: string): string | null {
  if (packageAt(root)?.name !== CODEX) return null;
  const platform = packageSeenFrom(path.join(root, "package.json"), `${CODEX}-${process.platform}-${process.arch}`);
  for (const place of [platform, root]) {
    const program = place === null ? null : programOfVendor(path.join(place, "vendor"));
    if (program !== null) return program;
  }
  return null;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };

/** `vendor/<triple>/bin/codex`, and `vendor/<triple>/codex/codex` in releases before that. */
function programOfVendor(vendor: string): string | null {
  if (!existsSync(vendor)) return null;
  const isOurs = (triple: string): boolean =>
    triple.startsWith(ARCHITECTURES[process.arch] ?? process.arch) && triple.includes(process.platform);
  const files = readdirSync(vendor)
    .filter(isOurs)
    .flatMap((triple) => [path.join(vendor, triple, "bin/codex"), path.join(vendor, triple, "codex/codex")]);
  return files.map(realProgram).find((file) => file !== null && isNative(file)) ?? null;
}

/** Where the release says that its parts lie around the program, all of them; else the program alone. */
function folderOf(program: string): string {
  const folder = path.dirname(path.dirname(program));
  return existsSync(path.join(folder, "codex-package.json")) ? folder : program;
}
