import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { build, type Metafile } from "esbuild";
import { expect, test } from "vitest";

const entry = fileURLToPath(new URL("../index.ts", import.meta.url));

function bundle(contents: string): Promise<{ metafile: Metafile; outputFiles: { text: string }[] }> {
  return build({
    stdin: { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)), loader: "ts" },
    bundle: true,
    platform: "browser",
    format: "iife",
    globalName: "sdk",
    write: false,
    metafile: true,
    logLevel: "silent",
  });
}

test("the sdk is made for browsers: no module of Node, and nothing but zod besides", async () => {
  const { metafile, outputFiles } = await bundle(`export * from ${JSON.stringify(entry)};`);
  const packages = Object.keys(metafile.inputs).flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []);
  expect([...new Set(packages)]).toEqual(["zod"]);
  // It loads and works with what browsers have, and with nothing of Node's.
  const asked: string[] = [];
  const page = {
    fetch: async (url: string) => {
      asked.push(url);
      return new Response('{"id":"run_1","status":"running"}');
    },
    URL,
    URLSearchParams,
    TextDecoder,
    AbortController,
    performance,
    setTimeout,
    clearTimeout,
  };
  const script = `${outputFiles[0]?.text}; new sdk.RunyardClient({ baseUrl: "http://127.0.0.1:4600", token: "t" }).runs.get("run_1")`;
  expect(await runInNewContext(script, page)).toMatchObject({ id: "run_1" });
  expect(asked).toEqual(["http://127.0.0.1:4600/v1/agent-runs/run_1"]);
});

test("the control: a module of Node is found", async () => {
  await expect(
    bundle(`export * from ${JSON.stringify(entry)}; import { readFileSync } from "node:fs"; console.log(readFileSync);`),
  ).rejects.toThrow("node:fs");
});
