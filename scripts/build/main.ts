// `npm run build`: makes what the two packages ship, from the sources. The same sources make the same files.
// `npm run build -- <folder>` also lays both packages into that folder, as an installation has them in `node_modules`.
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { buildPrograms } from "../../packages/runyard/src/runtime/index.ts";
import { withLock } from "../setup/lock.mjs";
import { noticesFor } from "./notices.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SDK = path.join(ROOT, "packages/sdk");
const RUNYARD = path.join(ROOT, "packages/runyard");
/** What the sources read at run time and the compiler leaves behind. */
const READ_AT_RUN_TIME = ["store/migrations", "sandbox/programs"];
/** What the API's reference shows in the browser; the last names the licences of what the first is made of. */
const SWAGGER_UI = ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-ui-bundle.js.LICENSE.txt"];

await withLock(path.join(ROOT, ".runyard-setup-build"), async () => {
  // In this order: Runyard is compiled against the declarations that the SDK ships.
  for (const dir of [SDK, RUNYARD]) compile(dir);
  for (const name of READ_AT_RUN_TIME) cpSync(path.join(RUNYARD, "src", name), path.join(RUNYARD, "dist", name), { recursive: true });
  const bundled = await buildPrograms(path.join(RUNYARD, "dist/programs"));
  writeFileSync(path.join(RUNYARD, "THIRD_PARTY_NOTICES"), noticesFor([...bundled, ...copySwaggerUi()]));
  const into = process.argv[2];
  if (into !== undefined) for (const dir of [SDK, RUNYARD]) layInto(into, dir);
});

/** Compiles what the entry files of a package reach, and nothing else: no tests, no helpers of tests. */
function compile(dir: string): void {
  rmSync(path.join(dir, "dist"), { recursive: true, force: true });
  copyFileSync(path.join(ROOT, "LICENSE"), path.join(dir, "LICENSE"));
  execFileSync(process.execPath, [path.join(ROOT, "node_modules/typescript/bin/tsc"), "-p", path.join(dir, "tsconfig.build.json")], {
    stdio: "inherit",
  });
}

/** Copies what a package publishes. */
function layInto(folder: string, dir: string): void {
  const { name, files } = JSON.parse(readFileSync(path.join(dir, "package.json"), "utf8")) as { name: string; files: string[] };
  for (const part of ["package.json", ...files])
    if (existsSync(path.join(dir, part))) cpSync(path.join(dir, part), path.join(folder, name, part), { recursive: true });
}

/** Returns the files that were copied. */
function copySwaggerUi(): string[] {
  const from = path.join(ROOT, "node_modules/swagger-ui-dist");
  for (const name of SWAGGER_UI) cpSync(path.join(from, name), path.join(RUNYARD, "dist/api/swagger-ui", name));
  return SWAGGER_UI.map((name) => path.join(from, name));
}
