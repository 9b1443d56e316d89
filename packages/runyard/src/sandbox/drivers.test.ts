import { describe, it } from "vitest";
import { sandboxDriver } from "./drivers.ts";
import { testDriver } from "./testing/driver-contract.ts";

testDriver(sandboxDriver("process"), { isolates: false });

const bwrap = sandboxDriver("bwrap");
const { available, reason } = await bwrap.probe();
if (available) testDriver(bwrap, { isolates: true });
else describe("the driver bwrap", () => it.skip(`cannot be tested here: ${reason}`, () => {}));
