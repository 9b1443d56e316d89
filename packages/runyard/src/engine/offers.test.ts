import { expect, test } from "vitest";
import type { SandboxState } from "./engine.ts";
import type { RunnerRow } from "../store/runners.ts";
import { offeredBy, type Offers, offersOf, type OfferSources } from "./offers.ts";

const HARD = { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" } as const;
const NONE = { filesystem: "none", network: "none", processes: "none", syscalls: "none" } as const;
const can = { available: true, reason: null, isolation: HARD };
const cannot = { available: false, reason: "There is no bwrap.", isolation: NONE };
const model = (name: string | null) => ({ connected: name !== null, simulated: false, model: name });

const own: OfferSources = { model: () => model("own"), probeSandbox: async () => cannot, hostMemoryBytes: () => 1 };

const runner = (id: string, offers: Offers): RunnerRow => ({
  id,
  owner: id,
  beat: 1,
  lease_ms: 1,
  offers: JSON.parse(JSON.stringify(offers)) as unknown,
  seen_at: "",
  lost_at: null,
});

test("what a runner says of itself is what those who have none go by", async () => {
  const poor = runner("a", { model: model(null), sandboxes: { bwrap: cannot, process: can }, hostMemoryBytes: 5 });
  const rich = runner(
    "b",
    await offersOf({ ...own, model: () => model("m"), probeSandbox: async () => can, hostMemoryBytes: () => 7, memoryBudgetBytes: 6 }),
  );
  const both = offeredBy(() => [poor, rich], own);
  expect([both.model(), await both.probeSandbox("bwrap"), both.hostMemoryBytes()]).toEqual([model("m"), can, 7]);
  // What none of them has is refused for their reason.
  const one = offeredBy(() => [poor], own);
  expect([one.model(), await one.probeSandbox("bwrap"), one.hostMemoryBytes()]).toEqual([model(null), cannot, 5]);
});

test("of several runners the one counts that keeps most of what a floor may want", async () => {
  const limits = { memory: true, cpus: true, pids: true };
  const offers = (sandbox: SandboxState): Offers => ({
    model: model(null),
    sandboxes: { bwrap: sandbox, process: can },
    hostMemoryBytes: 1,
  });
  const loose = runner("a", offers({ ...can, limits: { ...limits, memory: false } }));
  const strict = runner("b", offers({ ...can, limits }));
  expect(await offeredBy(() => [loose, strict], own).probeSandbox("bwrap")).toEqual({ ...can, limits });
  expect(await offeredBy(() => [loose], own).probeSandbox("bwrap")).toEqual({ ...can, limits: { ...limits, memory: false } });
});

test("while there is no runner, a run may wait for one", async () => {
  const { model: named, probeSandbox, hostMemoryBytes } = offeredBy(() => [], own);
  expect(named()).toEqual(model("own"));
  expect(await probeSandbox("bwrap")).toEqual(can);
  expect(await probeSandbox("process")).toEqual({ ...can, isolation: NONE });
  expect(hostMemoryBytes()).toBeGreaterThan(2 ** 50);
});
