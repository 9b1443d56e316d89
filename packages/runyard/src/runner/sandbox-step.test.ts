import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import type { IsolationFloor, Limits } from "@runyard/sdk/contract";
import { homeAt } from "../home.ts";
import type { SandboxDriver } from "../sandbox/driver.ts";
import { processDriver } from "../sandbox/process-driver.ts";
import type { RunRow, RunSpec } from "../store/run-row.ts";
import type { RunnerContext } from "./context.ts";
import { prepareSandbox } from "./sandbox-step.ts";

const root = mkdtempSync(path.join(tmpdir(), "runyard-sandbox-step-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** What preparing a step looks at. */
const ctx = { home: homeAt(root), driver: () => processDriver } as unknown as RunnerContext;
const step = { name: "prepare", argv: ["true"], env: {}, mounts: [], network: false } as const;
const prepare = (isolationFloor?: IsolationFloor, driver: SandboxDriver = processDriver) => {
  const spec: Partial<RunSpec> = { sandboxDriver: "process", ...(isolationFloor && { isolationFloor }) };
  return prepareSandbox({ ...ctx, driver: () => driver }, { id: "run_floor", attempt: 1, spec, state: {} } as RunRow, step);
};

test("a run that was created for another machine is not begun below its floor", async () => {
  await expect(prepare("sandbox")).rejects.toMatchObject({
    error: { type: "sandbox-unavailable", message: expect.stringMatching(/floor sandbox asks for isolated files/) as string },
  });
  await expect(prepare("strict")).rejects.toMatchObject({ error: { type: "sandbox-unavailable" } });
  for (const floor of ["none", undefined] as const) expect((await prepare(floor)).launch.argv).toEqual(["true"]);
});

test("nor where the machine isolates and does not limit what the floor asks for", async () => {
  const isolation = { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" } as const;
  const limiting = (granted: Partial<Limits>): SandboxDriver => ({
    ...processDriver,
    probe: async () => ({ available: true, reason: null, isolation }),
    prepare: async (wanted) => ({ ...(await processDriver.prepare(wanted)), granted: { ...wanted.limits, ...granted } }),
  });
  for (const [missing, words] of [
    [{ memoryBytes: null }, "limited memory"],
    [{ cpus: null }, "limited processors"],
    [{ pids: null }, "a limited number of processes"],
  ] as const)
    await expect(prepare("strict", limiting(missing))).rejects.toMatchObject({
      error: { type: "sandbox-unavailable", message: expect.stringContaining(`floor strict asks for ${words}, which`) as string },
    });
  for (const floor of ["sandbox", "none"] as const)
    expect((await prepare(floor, limiting({ memoryBytes: null }))).launch.argv).toEqual(["true"]);
  expect((await prepare("strict", limiting({}))).launch.argv).toEqual(["true"]);
});
