import { openSpawner } from "../spawner.ts";
import { hostLaunch, runStep } from "../step.ts";

/** A server that does nothing but run one step; to be killed. Its only argument is a JSON document. */
const job = JSON.parse(process.argv[2]!) as { spawner: Parameters<typeof openSpawner>[0]; dir: string; argv: string[] };
await runStep({ spawner: await openSpawner(job.spawner), dir: job.dir, launch: hostLaunch(job.argv), timeoutMs: 60_000 });
