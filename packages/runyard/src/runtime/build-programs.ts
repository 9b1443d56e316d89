import path from "node:path";
import { fileURLToPath } from "node:url";

/** What is bundled, by the name of the result (`<name>.mjs`). */
export const PROGRAM_SOURCES: Readonly<Record<string, string>> = {
  gateway: fileURLToPath(new URL("../gateway/main.ts", import.meta.url)),
  agent: fileURLToPath(new URL("../agents/builtin/main.ts", import.meta.url)),
  container: fileURLToPath(new URL("../sandbox/container-main.ts", import.meta.url)),
  "run-tools": fileURLToPath(new URL("../agents/run-tools/main.ts", import.meta.url)),
};

/** CommonJS packages ask for `require`, which a module does not have. Not a declaration: sources may have one of that name. */
const BANNER =
  'import { createRequire as runyardCreateRequire } from "node:module"; globalThis.require ??= runyardCreateRequire(import.meta.url);';

/**
 * Bundles programs into single files that need nothing beside Node. Returns the absolute paths of all
 * files that went into them. Used at the first start from source and by the build of the package;
 * esbuild is loaded here and nowhere else, so that an installed package does without it.
 */
export async function buildPrograms(outDir: string, sources: Readonly<Record<string, string>> = PROGRAM_SOURCES): Promise<string[]> {
  const { build } = await import("esbuild");
  // Names of inputs stand in the result: taken from one place, they do not depend on the caller's directory.
  const workingDir = fileURLToPath(new URL("../../../..", import.meta.url));
  const { metafile } = await build({
    entryPoints: Object.entries(sources).map(([name, file]) => ({ in: file, out: name })),
    outdir: outDir,
    outExtension: { ".js": ".mjs" },
    absWorkingDir: workingDir,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    conditions: ["runyard-source"],
    banner: { js: BANNER },
    legalComments: "eof",
    logLevel: "silent",
    metafile: true,
  });
  return Object.keys(metafile.inputs)
    .filter((input) => !input.includes(":"))
    .map((input) => path.resolve(workingDir, input));
}
