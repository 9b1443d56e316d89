import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// The linter keeps the rooms apart; this keeps the linter honest. Files with one import each are planted
// in a temporary tree with the repository's own configuration, and the linter must go red exactly where
// the tables below say so. They are written apart from the configuration: a mistake in one of the two shows.

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const SERVER = "packages/runyard/src";
const SDK = "packages/sdk/src";

type Table = Readonly<Record<string, readonly string[]>>;

/** Files that import no room, so that every room but core may import them. */
const LEAVES = ["home.ts", "process-identity.ts", "redact.ts"];

/** What the gateway, a process of its own, shows to the runner. */
const GATEWAY_CLIENT = ["gateway/client.ts", "gateway/exchange-journal.ts"];

/** Which places of packages/runyard/src each room may import, beside itself. */
const SERVER_ROOMS: Table = {
  core: [],
  store: ["core", "runtime", ...LEAVES],
  engine: ["core", "store", "runtime", ...LEAVES],
  sandbox: ["core", "runtime", ...LEAVES],
  agents: ["core", "runtime", ...LEAVES],
  gateway: ["core", "runtime", ...LEAVES],
  git: ["core", "sandbox", "runtime", ...LEAVES],
  runner: ["core", "engine", "store", "sandbox", "agents", "git", ...GATEWAY_CLIENT, "runtime", ...LEAVES],
  api: ["engine", "runtime", ...LEAVES],
  integrations: ["core", "engine", "runtime", ...LEAVES],
  forge: ["runtime", ...LEAVES],
  cli: ["runtime", ...LEAVES, "configuration.ts", "providers.ts", "doctor.ts"],
  runtime: LEAVES,
};
const SERVER_FILES = ["main.ts", "doctor.ts", "configuration.ts", "providers.ts", "proxy.ts", "server-log.ts", ...LEAVES];
const SERVER_PLACES = [...Object.keys(SERVER_ROOMS), "testing", ...GATEWAY_CLIENT, ...SERVER_FILES];

/** The same for packages/sdk/src. */
const SDK_ROOMS: Table = {
  contract: [],
  client: ["contract"],
  codegen: ["contract", "client"],
  react: ["contract", "client"],
  proxy: ["contract", "client"],
};

interface Plant {
  readonly file: string;
  readonly code: string;
  readonly isForbidden: boolean;
}

/** No way of importing is a way around. */
const WAYS: Readonly<Record<string, (specifier: string) => string>> = {
  static: (specifier) => `import { a } from "${specifier}";\nexport const b: unknown = a;\n`,
  reexport: (specifier) => `export * from "${specifier}";\n`,
  type: (specifier) => `import type { A } from "${specifier}";\nexport const a: A | null = null;\n`,
  dynamic: (specifier) => `export const load = async (): Promise<unknown> => import("${specifier}");\n`,
};

/** One file for each way of importing `specifier`; `stem` is the file's place without its ending. */
function plant(stem: string, specifier: string, isForbidden: boolean): Plant[] {
  return Object.entries(WAYS).map(([way, code]) => ({ file: `${stem}-${way}.ts`, code: code(specifier), isForbidden }));
}

/** Imports of every place by every room, from the room's top and from a folder in it. */
function plantBetween(source: string, rooms: Table, places: readonly string[]): Plant[] {
  return Object.entries(rooms).flatMap(([room, allowed]) =>
    places
      .filter((place) => place !== room && !place.startsWith(`${room}/`))
      .flatMap((place) => {
        const target = place.endsWith(".ts") ? place : `${place}/x.ts`;
        const name = place.replaceAll(/[^a-z]+/g, "-");
        const isForbidden = !allowed.includes(place);
        return [
          ...plant(`${source}/${room}/${name}`, `../${target}`, isForbidden),
          ...plant(`${source}/${room}/deep/er/${name}`, `../../../${target}`, isForbidden),
        ];
      }),
  );
}

function importsOf(rooms: readonly string[]): string {
  return rooms.map((room) => `export * as ${room} from "./${room}/x.ts";\n`).join("");
}

let temporary = "";
beforeAll(async () => {
  temporary = await mkdtemp(path.join(tmpdir(), "runyard-boundaries-"));
});
afterAll(async () => {
  await rm(temporary, { recursive: true, force: true });
});

/** Lints the planted files and gives back, sorted, those in which `rule` found an error. */
async function redFiles(plants: readonly Plant[], rule: string): Promise<string[]> {
  const dir = await mkdtemp(path.join(temporary, "tree-"));
  const config: Record<string, unknown> = JSON.parse(await readFile(path.join(ROOT, ".oxlintrc.json"), "utf8"));
  await writeFile(path.join(dir, ".oxlintrc.json"), JSON.stringify(config));
  await writeFile(path.join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions: { strict: true, module: "nodenext" } }));
  for (const { file, code } of plants) {
    await mkdir(path.join(dir, path.dirname(file)), { recursive: true });
    await writeFile(path.join(dir, file), code);
  }
  const report = JSON.parse(await lintAsJson(dir)) as { diagnostics: { filename: string; code: string; severity: string }[] };
  const errors = report.diagnostics.filter(({ code, severity }) => code === rule && severity === "error");
  return [...new Set(errors.map(({ filename }) => filename))].sort();
}

function lintAsJson(dir: string): Promise<string> {
  const oxlint = path.join(ROOT, "node_modules/oxlint/bin/oxlint");
  const env = { ...process.env, OXLINT_TSGOLINT_PATH: path.join(ROOT, "node_modules/.bin/tsgolint") };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [oxlint, "-f", "json"], { cwd: dir, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout) => {
      // Red files make the exit code 1, which is no failure here; without a report it is one.
      if (stdout === "") reject(error ?? new Error("oxlint printed no report"));
      else resolve(stdout);
    });
  });
}

async function expectRedAsPlanted(plants: readonly Plant[], rule = "eslint(no-restricted-imports)"): Promise<void> {
  const expected = plants.filter(({ isForbidden }) => isForbidden).map(({ file }) => file);
  expect(await redFiles(plants, rule)).toEqual(expected.sort());
}

describe("rooms of the server", () => {
  test("import what the table allows, and nothing else", async () => {
    const plants = plantBetween(SERVER, SERVER_ROOMS, SERVER_PLACES);
    expect(plants.filter(({ isForbidden }) => !isForbidden).length).toBeGreaterThan(100);
    await expectRedAsPlanted(plants);
  });

  test("only cli/up.ts and cli/down.ts import main.ts", async () => {
    const importing = 'import { main } from "../main.ts";\nexport const run: unknown = main;\n';
    await expectRedAsPlanted([
      { file: `${SERVER}/cli/up.ts`, code: importing, isForbidden: false },
      { file: `${SERVER}/cli/down.ts`, code: importing, isForbidden: false },
      { file: `${SERVER}/cli/status.ts`, code: importing, isForbidden: true },
      ...plant(`${SERVER}/cli/commands/x`, "../../main.ts", true),
      ...plant(`${SERVER}/cli/commands/y`, "../../main.js", true),
    ]);
  });

  test("main.ts imports every room but testing; the other files beside it import no room but core", async () => {
    const rooms = Object.keys(SERVER_ROOMS);
    await expectRedAsPlanted([
      { file: `${SERVER}/main.ts`, code: importsOf(rooms), isForbidden: false },
      { file: `${SERVER}/providers.ts`, code: importsOf(["core"]), isForbidden: false },
    ]);
    await expectRedAsPlanted([
      { file: `${SERVER}/main.ts`, code: importsOf(["testing"]), isForbidden: true },
      ...LEAVES.map((leaf) => ({ file: `${SERVER}/${leaf}`, code: importsOf(["core"]), isForbidden: true })),
      { file: `${SERVER}/configuration.ts`, code: importsOf(["engine"]), isForbidden: true },
      { file: `${SERVER}/providers.ts`, code: importsOf(["gateway"]), isForbidden: true },
      { file: `${SERVER}/proxy.ts`, code: importsOf(["gateway"]), isForbidden: true },
      { file: `${SERVER}/server-log.ts`, code: importsOf(["engine"]), isForbidden: true },
    ]);
  });

  test("doctor.ts imports rooms, and neither the server nor the commands", async () => {
    const asking = ["sandbox", "agents", "store", "core", "git"];
    await expectRedAsPlanted([{ file: `${SERVER}/doctor.ts`, code: importsOf(asking), isForbidden: false }]);
    for (const code of [importsOf(["cli"]), importsOf(["api"]), importsOf(["testing"]), 'export * from "./main.ts";\n'])
      await expectRedAsPlanted([{ file: `${SERVER}/doctor.ts`, code, isForbidden: true }]);
  });

  test("a room's own testing folder is for its tests only", async () => {
    await expectRedAsPlanted([
      ...plant(`${SERVER}/gateway/x`, "./testing/x.ts", true),
      ...plant(`${SERVER}/gateway/testing/x`, "../../sandbox/x.ts", false),
      { file: `${SERVER}/gateway/x.test.ts`, code: 'export * from "./testing/x.ts";\n', isForbidden: false },
    ]);
  });

  test("tests and the testing room may import any room", async () => {
    const plants = SERVER_PLACES.map((place) => `../${place.endsWith(".ts") ? place : `${place}/x.ts`}`).flatMap((specifier, index) => [
      { file: `${SERVER}/core/x${index}.test.ts`, code: `export * from "${specifier}";\n`, isForbidden: false },
      ...plant(`${SERVER}/testing/x${index}`, specifier, false),
    ]);
    await expectRedAsPlanted(plants);
  });

  test("core imports no module of Node, no package but the contract, and takes time and chance as values", async () => {
    await expectRedAsPlanted([
      ...plant(`${SERVER}/core/node`, "node:fs", true),
      ...plant(`${SERVER}/core/bare`, "fs", true),
      ...plant(`${SERVER}/core/package`, "pg", true),
      ...plant(`${SERVER}/core/sdk`, "@runyard/sdk", true),
      ...plant(`${SERVER}/core/contract`, "@runyard/sdk/contract", false),
      ...plant(`${SERVER}/core/own`, "./limits.ts", false),
      ...plant(`${SERVER}/core/deep/own`, "../limits.ts", false),
      ...plant(`${SERVER}/store/node`, "node:fs", false),
    ]);
    const clocks = [
      { file: `${SERVER}/core/clock.ts`, code: "export const now = (): number => Date.now();\n", isForbidden: true },
      { file: `${SERVER}/core/chance.ts`, code: "export const chance = (): number => Math.random();\n", isForbidden: true },
      {
        file: `${SERVER}/core/value.ts`,
        code: "export const at = (ms: number): string => new Date(ms).toISOString();\n",
        isForbidden: false,
      },
      { file: `${SERVER}/engine/clock.ts`, code: "export const now = (): number => Date.now();\n", isForbidden: false },
    ];
    await expectRedAsPlanted(clocks, "eslint(no-restricted-properties)");
    const globals = [
      { file: `${SERVER}/core/env.ts`, code: 'export const home = process.env["HOME"];\n', isForbidden: true },
      { file: `${SERVER}/engine/env.ts`, code: 'export const home = process.env["HOME"];\n', isForbidden: false },
    ];
    await expectRedAsPlanted(globals, "eslint(no-restricted-globals)");
  });

  test("packages are imported by name and through their doors", async () => {
    await expectRedAsPlanted([
      ...plant(`${SERVER}/engine/self`, "runyard/src/core/x.ts", true),
      ...plant(`${SERVER}/engine/path`, "../../../sdk/src/contract/run.ts", true),
      ...plant(`${SERVER}/engine/client`, "@runyard/sdk", true),
      ...plant(`${SERVER}/engine/contract`, "@runyard/sdk/contract", false),
      ...plant(`${SERVER}/cli/client`, "@runyard/sdk", false),
      ...plant(`${SERVER}/forge/client`, "@runyard/sdk", false),
    ]);
  });

  test("every folder and file beside the rooms is known to the table", async () => {
    const known = new Set([...Object.keys(SERVER_ROOMS), "testing", ...SERVER_FILES]);
    expect((await readdir(path.join(ROOT, SERVER))).filter((name) => !known.has(name) && !name.endsWith(".test.ts"))).toEqual([]);
  });
});

describe("rooms of the sdk", () => {
  test("import what the table allows, and nothing else", async () => {
    await expectRedAsPlanted(plantBetween(SDK, SDK_ROOMS, [...Object.keys(SDK_ROOMS), "index.ts"]));
  });

  test("no room imports a module of Node or a package, but zod in the contract and react in the hooks", async () => {
    await expectRedAsPlanted([
      ...Object.keys(SDK_ROOMS).flatMap((room) => [
        ...plant(`${SDK}/${room}/node`, "node:fs", true),
        ...plant(`${SDK}/${room}/bare`, "fs", true),
        ...plant(`${SDK}/${room}/package`, "undici", true),
        ...plant(`${SDK}/${room}/zod`, "zod", room !== "contract"),
        ...plant(`${SDK}/${room}/hooks`, "react", room !== "react"),
        ...plant(`${SDK}/${room}/own`, "./other.ts", false),
      ]),
      ...plant(`${SDK}/node`, "node:fs", true),
      ...plant(`${SDK}/room`, "./contract/index.ts", false),
    ]);
  });

  test("every folder beside the rooms is known to the table", async () => {
    const entries = await readdir(path.join(ROOT, SDK), { withFileTypes: true });
    expect(entries.filter((entry) => entry.isDirectory() && !(entry.name in SDK_ROOMS)).map(({ name }) => name)).toEqual([]);
  });

  test("every file can be bundled for a browser, where no module of Node exists", async () => {
    const files = (await readdir(path.join(ROOT, SDK), { recursive: true })).filter((file) => /(?<!\.test)\.tsx?$/.test(file));
    expect(files.length).toBeGreaterThan(0);
    await bundleForBrowser(files.map((file) => path.join(ROOT, SDK, file)));

    const planted = path.join(temporary, "planted.ts");
    await writeFile(planted, 'export { readFileSync } from "node:fs";\n');
    await expect(bundleForBrowser([planted])).rejects.toThrow("node:fs");
  });
});

async function bundleForBrowser(entryPoints: string[]): Promise<void> {
  const outdir = path.join(temporary, "bundle");
  await build({
    entryPoints,
    outdir,
    bundle: true,
    write: false,
    platform: "browser",
    format: "esm",
    external: ["react"],
    logLevel: "silent",
  });
}

describe("other rules that the house relies on", () => {
  const rules: readonly (readonly [string, string, string])[] = [
    ["typescript(no-explicit-any)", "export const a: any = 1;\n", "export const a: unknown = 1;\n"],
    ["import(no-default-export)", "export default 1;\n", "export const a = 1;\n"],
    [
      "typescript(no-floating-promises)",
      "export function f(p: Promise<void>): void {\n  p.then(() => 1);\n}\n",
      "export async function f(p: Promise<void>): Promise<void> {\n  await p;\n}\n",
    ],
    [
      "typescript(no-misused-promises)",
      "export function f(p: Promise<boolean>): number {\n  if (p) return 1;\n  return 2;\n}\n",
      "export async function f(p: Promise<boolean>): Promise<number> {\n  if (await p) return 1;\n  return 2;\n}\n",
    ],
    ["typescript(no-require-imports)", 'export const a: unknown = require("../store/x.ts");\n', "export const a = 1;\n"],
    ["unicorn(prefer-node-protocol)", 'import "fs";\n', 'import "node:fs";\n'],
  ];

  test.each(rules)("%s", async (rule, bad, good) => {
    const plants = [
      { file: `${SERVER}/engine/bad.ts`, code: bad, isForbidden: true },
      { file: `${SERVER}/engine/good.ts`, code: good, isForbidden: false },
    ];
    await expectRedAsPlanted(plants, rule);
  });

  test("import(no-cycle)", async () => {
    const plants = [
      { file: `${SERVER}/engine/a.ts`, code: 'import { b } from "./b.ts";\nexport const a = (): number => b();\n', isForbidden: true },
      { file: `${SERVER}/engine/b.ts`, code: 'import { a } from "./a.ts";\nexport const b = (): number => a();\n', isForbidden: true },
      { file: `${SERVER}/engine/c.ts`, code: 'import { a } from "./a.ts";\nexport const c = (): number => a();\n', isForbidden: false },
    ];
    await expectRedAsPlanted(plants, "import(no-cycle)");
  });
});
