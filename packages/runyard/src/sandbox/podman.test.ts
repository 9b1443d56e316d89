import { testEngine } from "./testing/engine-suite.ts";

testEngine("podman");
