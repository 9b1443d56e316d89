import { sandboxDriver } from "./drivers.ts";
import { testDriver } from "./testing/driver-contract.ts";

const bwrap = sandboxDriver("bwrap");
const { reason } = await bwrap.probe();

testDriver(sandboxDriver("process"), { isolates: false, whyNot: null });
testDriver(bwrap, { isolates: true, whyNot: reason });
