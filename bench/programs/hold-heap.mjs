// Loaded before the server: holds as much live heap as BENCH_HEAP_MB says, in objects that the collector must
// look at, and touches it, so that all of it is resident.
const megabytes = Number(process.env["BENCH_HEAP_MB"] ?? 0);
const held = Array.from({ length: megabytes * 64 }, (_, i) => Array.from({ length: 2_048 }, (__, j) => i + j));
Object.assign(globalThis, { heldForBench: held });
