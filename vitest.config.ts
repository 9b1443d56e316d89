import { configDefaults, defineConfig } from "vitest/config";
import { countReporter } from "./scripts/count-reporter.ts";
import { LongTestsFirst } from "./scripts/long-tests-first.ts";

const conditions = ["runyard-source"];

/** Tests that leave nothing behind in their process: one process serves them all. */
const TIDY = ["core", "cli", "agents/acp", "agents/profiles"].map((folder) => `packages/runyard/src/${folder}/**/*.test.ts`);

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    projects: [
      { extends: true, test: { name: "tidy", include: TIDY, isolate: false } },
      {
        extends: true,
        test: {
          name: "all",
          include: ["packages/*/src/**/*.test.ts", "packages/*/test/**/*.test.ts", "scripts/**/*.test.ts"],
          exclude: [...configDefaults.exclude, ...TIDY],
        },
      },
    ],
    globalSetup: ["packages/runyard/src/testing/global-setup.ts"],
    pool: "forks",
    maxWorkers: 2,
    sequence: { sequencer: LongTestsFirst },
    // For what hangs: a busy machine may take several times as long as a quiet one.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 50_000 } },
    restoreMocks: true,
    reporters: ["default", countReporter()],
    coverage: { provider: "v8", include: ["packages/runyard/src/core/**"], exclude: ["**/*.test.ts"] },
  },
});
