import { EXIT } from "./exit-codes.ts";
import { createProgram } from "./program.ts";
import { report } from "./report.ts";

// A reader that has seen enough (head, a pager) is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(EXIT.ok);
    throw error;
  });
}

try {
  await createProgram().parseAsync();
} catch (error) {
  // Not only the exit code: a start that failed half way may hold things open.
  process.exit(report(error));
}
