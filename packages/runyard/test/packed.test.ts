// What is published, as its users get it: packed, installed in an empty folder with an empty home, and run by plain Node.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sandboxDriver } from "../src/sandbox/drivers.ts";
import { makeRepository, makeTestHome } from "../src/testing/server.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const unisolated = full ? (await sandboxDriver("bwrap").probe()).reason : null;

/** What `npm pack --json` says of a package. */
interface Packed {
  readonly name: string;
  readonly filename: string;
  readonly sizeBytes: number;
  readonly integrity: string;
  readonly files: readonly string[];
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(argv: readonly string[], options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }): Promise<Ended> {
  const [program = "", ...words] = argv;
  const child = spawn(program, words, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

async function succeed(argv: readonly string[], options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }): Promise<string> {
  const { code, stdout, stderr } = await run(argv, options);
  expect(code, `${argv.join(" ")}\n${stdout}\n${stderr}`).toBe(0);
  return stdout;
}

const IN_BOTH = [/^(package\.json|README\.md|LICENSE)$/, /^dist\/.*\.js$/];
const IN_SDK = [/^dist\/.*\.d\.ts$/];
const IN_RUNYARD = [
  /^(THIRD_PARTY_NOTICES|bin\/runyard\.mjs)$/,
  /^assets\/demo-repository\/(README\.md|package\.json|src\/slug\.js|test\/slug\.test\.js)$/,
  /^dist\/api\/swagger-ui\/swagger-ui(\.css|-bundle\.js\.LICENSE\.txt)$/,
  /^dist\/programs\/(agent|container|gateway|run-tools)\.mjs$/,
  /^dist\/sandbox\/programs\/((shim|spawner|container-node)\.sh|etc\/[a-z.]+)$/,
  /^dist\/store\/migrations\/\d{4}_\w+\.sql$/,
];
const FOR_TESTS = /^dist\/(.*\/)?(testing\/|testing\.|[^/]*\.test\.)|\.map$/;

describe.skipIf(!full)(full ? "the published packages" : "the published packages (npm run test:full)", () => {
  let dir = "";
  let app = "";
  let sdk: Packed;
  let runyard: Packed;
  const env: NodeJS.ProcessEnv = { PATH: process.env["PATH"], LANG: process.env["LANG"], NO_COLOR: "1" };

  beforeAll(async () => {
    dir = realpathSync(mkdtempSync(path.join(tmpdir(), "runyard-packed-")));
    app = path.join(dir, "app");
    for (const name of ["app", "home", "tmp", "first", "second"]) mkdirSync(path.join(dir, name));
    Object.assign(env, { HOME: path.join(dir, "home"), TMPDIR: path.join(dir, "tmp") });
    [runyard, sdk] = await buildAndPack("first");
    put("app/package.json", '{ "private": true, "type": "module" }\n');
    const tarballs = [sdk, runyard].map((one) => path.join(dir, "first", one.filename));
    // With the user's own settings of npm: a registry nearby, a cache.
    await succeed(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", ...tarballs], { cwd: app, env: process.env });
  }, 600_000);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  function put(file: string, text: string): void {
    writeFileSync(path.join(dir, file), text);
  }

  async function buildAndPack(into: string): Promise<[Packed, Packed]> {
    await succeed([process.execPath, "scripts/bootstrap.mjs", "build"], { cwd: ROOT, env: process.env });
    const words = ["npm", "pack", "--workspaces", "--json", "--pack-destination", path.join(dir, into)];
    const packed = JSON.parse(await succeed(words, { cwd: ROOT, env: process.env })) as {
      name: string;
      filename: string;
      size: number;
      integrity: string;
      files: { path: string }[];
    }[];
    const find = (name: string): Packed => {
      const one = packed.find((candidate) => candidate.name === name);
      if (one === undefined) throw new Error(`${name} was not packed`);
      return { ...one, sizeBytes: one.size, files: one.files.map((file) => file.path) };
    };
    return [find("runyard"), find("@runyard/sdk")];
  }

  test("hold what belongs, and no more", () => {
    const strange = (one: Packed, belongs: readonly RegExp[]): string[] =>
      one.files.filter((file) => FOR_TESTS.test(file) || !belongs.some((pattern) => pattern.test(file)));
    expect(strange(runyard, [...IN_BOTH, ...IN_RUNYARD])).toEqual([]);
    expect(strange(sdk, [...IN_BOTH, ...IN_SDK])).toEqual([]);
    for (const one of [runyard, sdk]) expect(one.files).toEqual(expect.arrayContaining(["package.json", "README.md", "LICENSE"]));
    console.info(`Packed: runyard ${runyard.sizeBytes} bytes, @runyard/sdk ${sdk.sizeBytes} bytes`);
    expect(runyard.sizeBytes).toBeLessThan(2_500_000);
    expect(sdk.sizeBytes).toBeLessThan(150_000);
  });

  test("name what is bundled, and nothing of the machine that made them", () => {
    const root = path.join(app, "node_modules/runyard");
    expect(readFileSync(path.join(root, "THIRD_PARTY_NOTICES"), "utf8")).toMatch(/^zod \d.*, MIT\n-+\n\n[^]*Permission is hereby granted/m);
    for (const file of runyard.files) expect(readFileSync(path.join(root, file), "utf8").includes(ROOT), file).toBe(false);
  });

  test("a second build makes the same", async () => {
    const [again, sdkAgain] = await buildAndPack("second");
    expect([again.integrity, sdkAgain.integrity], "nobody may edit the sources meanwhile").toEqual([runyard.integrity, sdk.integrity]);
  }, 300_000);

  test.each([
    ["runyard", ["cli/main.js"]],
    ["@runyard/sdk", ["index.js", "contract/index.js"]],
  ])("%s depends on what it imports, and on nothing else", async (name, entries) => {
    const root = path.join(app, "node_modules", name);
    const { dependencies } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { dependencies: Record<string, string> };
    const entryPoints = entries.map((entry) => path.join(root, "dist", entry));
    const { metafile } = await build({
      entryPoints,
      outdir: dir,
      bundle: true,
      packages: "external",
      platform: "node",
      format: "esm",
      metafile: true,
      write: false,
    });
    const imported = Object.values(metafile.outputs).flatMap((output) => output.imports.map((one) => one.path));
    // esbuild is for clones: what it would make there lies ready in the package.
    const packages = imported
      .filter((one) => !isBuiltin(one) && one !== "esbuild")
      .map((one) => one.split("/", one.startsWith("@") ? 2 : 1).join("/"));
    expect([...new Set(packages)].toSorted()).toEqual(Object.keys(dependencies).toSorted());
  });

  test("the program says its version and runs from what was compiled", async () => {
    const { version } = JSON.parse(readFileSync(path.join(ROOT, "packages/runyard/package.json"), "utf8")) as { version: string };
    expect(await succeed(["npx", "--no", "--", "runyard", "--version"], { cwd: app, env })).toBe(`${version}\n`);
    expect(existsSync(path.join(app, "node_modules/runyard/src"))).toBe(false);
    for (const tool of ["esbuild", "tsx", "typescript", "ai"]) expect(existsSync(path.join(app, "node_modules", tool)), tool).toBe(false);
  });

  test.skipIf(unisolated !== null)(
    unisolated === null ? "the demo works" : `the demo cannot be tested: ${unisolated}`,
    async () => {
      const { code, stderr } = await run(["npx", "--no", "--", "runyard", "demo"], { cwd: app, env });
      expect(code, stderr).toBe(0);
      expect(stderr).toMatch(/before {2}node --test {2}exit 1\n {2}after {3}node --test {2}exit 0/);
      expect(stderr).toContain("The demo worked.");
      expect(readdirSync(path.join(dir, "tmp")).map((name) => readdirSync(path.join(dir, "tmp", name)))).toEqual([["slug"]]);
      // npm's own cache is all that may be in the home.
      expect(readdirSync(path.join(dir, "home")).filter((name) => name !== ".npm")).toEqual([]);
    },
    300_000,
  );

  test("the server serves, the API's reference too", async () => {
    const own = { cwd: app, env: { ...env, RUNYARD_HOME: path.join(dir, "server") } };
    const program = path.join(app, "node_modules/.bin/runyard");
    const server = spawn(program, ["up", "--port", "0", "--json", "--unsafe-process"], { ...own, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    server.stderr.on("data", (data: Buffer) => (said += data.toString()));
    const exited = once(server, "exit");
    try {
      const [line] = await Promise.race([once(createInterface({ input: server.stdout }), "line"), exited]);
      expect(line, said).toMatch(/^\{"url":/);
      const { url } = JSON.parse(String(line)) as { url: string };
      expect(await succeed([program, "runs", "--json"], own)).toContain('"data": []');
      for (const file of ["swagger-ui-bundle.js", "swagger-ui.css"]) expect((await fetch(`${url}/docs/${file}`)).status, file).toBe(200);
      expect((await fetch(`${url}/docs/nothing.js`)).status).toBe(404);
    } finally {
      server.kill("SIGTERM");
      await exited;
      await succeed([program, "down"], own);
    }
  }, 300_000);

  test("the SDK works in plain Node", async () => {
    const program = `
      import { RunyardClient, RunyardConnectionError } from "@runyard/sdk";
      import * as contract from "@runyard/sdk/contract";
      const client = new RunyardClient({ baseUrl: "http://127.0.0.1:1", token: "t", maxRetries: 0 });
      const error = await client.runs.get("run_1").catch((error) => error);
      console.log(error instanceof RunyardConnectionError, contract.isTerminal("completed"), contract.isTerminal("running"));
    `;
    expect(await succeed([process.execPath, "--input-type=module", "--eval", program], { cwd: app, env })).toBe("true true false\n");
  });

  describe.each([
    ["nodenext", "nodenext"],
    ["esnext", "bundler"],
  ])("types for module %s, resolution %s", (module, moduleResolution) => {
    function compile(program: string): Promise<Ended> {
      const name = `${moduleResolution}-${createHash("sha256").update(program).digest("hex").slice(0, 8)}`;
      put(`app/${name}.ts`, program);
      // Declarations are checked too, and there are no types of Node: it must do without.
      const compilerOptions = {
        module,
        moduleResolution,
        target: "es2023",
        lib: ["es2023", "dom"],
        types: [],
        strict: true,
        skipLibCheck: false,
        noEmit: true,
      };
      put(`app/${name}.json`, JSON.stringify({ compilerOptions, files: [`${name}.ts`] }));
      return run([process.execPath, path.join(ROOT, "node_modules/typescript/bin/tsc"), "-p", `${name}.json`], { cwd: app, env });
    }

    test("the example of the README compiles", async () => {
      const example = /```ts\n([^]*?)```/.exec(readFileSync(path.join(app, "node_modules/@runyard/sdk/README.md"), "utf8"))?.[1] ?? "";
      expect(example).toContain("new RunyardClient");
      expect(await compile(example)).toMatchObject({ code: 0, stdout: "" });
    });

    test("the contract has types, and a wrong use is refused", async () => {
      const program =
        'import type { Run } from "@runyard/sdk/contract";\nimport { RunyardClient } from "@runyard/sdk";\nexport const status = (run: Run): "completed" | "other" => (run.status === "completed" ? run.status : "other");\n';
      expect(await compile(program)).toMatchObject({ code: 0, stdout: "" });
      const wrong = `${program}void new RunyardClient({ baseUrl: 1, token: "t" });\nexport const n = (run: Run): number => run.status;\n`;
      const { stdout } = await compile(wrong);
      expect(stdout.match(/error TS\d+/g)).toEqual(["error TS2322", "error TS2322"]);
    });
  });
});

describe.skipIf(!full)(full ? "the clone from another folder" : "the clone from another folder (npm run test:full)", () => {
  test("`npx --prefix <clone> runyard` keeps the folder that one stands in", async () => {
    const home = makeTestHome();
    const npx = ["npx", "--no", `--prefix=${ROOT}`, "runyard"];
    try {
      const repository = makeRepository(home.root, { "README.md": "Here\n" });
      const there = { cwd: repository, env: home.env };
      expect(await succeed([...npx, "--help"], there)).toContain("Runs coding agents on your own machines.");
      const refused = await run([...npx, "run", "Do it"], there);
      expect(refused).toMatchObject({ code: 1, stdout: "" });
      expect(refused.stderr).toContain("No Runyard is running here.");

      await home.up("--simulate", ...(unisolated === null ? [] : ["--unsafe-process"]));
      const created = JSON.parse(await succeed([...npx, "run", "Do it", "--detach", "--json"], there)) as { repositoryUrl: string };
      expect(realpathSync(created.repositoryUrl)).toBe(realpathSync(repository));
    } finally {
      await home.close();
    }
  }, 120_000);
});
