import { testRuns } from "./containers/runs.ts";

testRuns("docker");
