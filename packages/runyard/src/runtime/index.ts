export { installRuntime, runtimeVersion, type Runtime } from "./install.ts";
export { buildPrograms } from "./build-programs.ts";
