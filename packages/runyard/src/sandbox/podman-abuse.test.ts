import { testAbuse } from "./testing/abuse-suite.ts";
import { containerAbuse } from "./testing/engine-driver.ts";

testAbuse(containerAbuse("podman"));
