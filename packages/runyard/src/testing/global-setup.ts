import { holdTestServer, releaseTestServer } from "./test-server.ts";

/** For `globalSetup` of vitest: the shared PostgreSQL server lives as long as a test run does. It is started by the first test that needs it. */
export const setup = holdTestServer;
export const teardown = releaseTestServer;
