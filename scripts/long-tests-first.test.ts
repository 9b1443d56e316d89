import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { createVitest, type TestSpecification } from "vitest/node";
import { LONG, LongTestsFirst } from "./long-tests-first.ts";

test("the files that are named are there, and come first in their order", async () => {
  expect(LONG.filter((name) => !existsSync(name))).toEqual([]);
  const vitest = await createVitest("test", { watch: false, config: false, root: process.cwd() });
  try {
    const specification = (moduleId: string): TestSpecification => vitest.getRootProject().createSpecification(moduleId);
    const files = ["scripts/licences.test.ts", ...LONG.toReversed(), "packages/runyard/test/cli-runs.test.ts"];
    const sorted = await new LongTestsFirst(vitest).sort(files.map((name) => specification(`${process.cwd()}/${name}`)));
    expect(sorted.map(({ moduleId }) => moduleId.slice(process.cwd().length + 1)).slice(0, LONG.length)).toEqual(LONG);
    expect(sorted).toHaveLength(files.length);
  } finally {
    await vitest.close();
  }
});
