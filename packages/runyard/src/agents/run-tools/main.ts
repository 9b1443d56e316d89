import { createInterface } from "node:readline";
import { answerLine } from "./server.ts";

// An MCP server on stdin and stdout, which an agent starts inside of its sandbox. Its words say how it is to answer.
const words = process.argv.slice(2);
const mode = { plans: words.includes("plans"), repeats: words.includes("repeats") };
createInterface({ input: process.stdin }).on("line", (line) => {
  const answer = answerLine(line, mode);
  if (answer !== null) process.stdout.write(`${answer}\n`);
});
// Nobody reads any more.
process.stdout.on("error", () => process.exit(0));
