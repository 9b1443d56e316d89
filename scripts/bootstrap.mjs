// Entry of `npm start`, `npm run demo`, `npm test` and their like. Plain JavaScript without a
// dependency: it runs in a fresh clone, before anything is installed.
import { refusalOfNode } from "./setup/node-version.mjs";

const refusal = refusalOfNode(process.versions.node);
if (refusal !== null) {
  console.error(refusal);
  process.exit(1);
}

// Imported only now, because the rest uses what an old Node does not have.
const { main } = await import("./setup/main.mjs");
await main(process.argv.slice(2));
