export * from "./errors.ts";
export * from "./events.ts";
export * from "./ids.ts";
export * from "./routes.ts";
export * from "./run.ts";
export * from "./status.ts";
