// Installs a runtime in a process of its own: argv holds the sources and the home as JSON. Prints "building" when it builds, then the runtime.
import { homeAt } from "../../home.ts";
import { installFrom, type RuntimeSources } from "../install.ts";

const { sources, root } = JSON.parse(process.argv[2] ?? "") as { sources: RuntimeSources; root: string };
const runtime = await installFrom(sources, { home: homeAt(root), onProgress: () => process.stdout.write("building\n") });
process.stdout.write(`${JSON.stringify(runtime)}\n`);
