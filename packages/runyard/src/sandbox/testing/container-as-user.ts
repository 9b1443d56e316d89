// Runs as an ordinary user: the driver `docker` on the engine of DOCKER_HOST, with a command, and one that is ended. The only argument is the image.
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { homeAt } from "../../home.ts";
import { installRuntime } from "../../runtime/index.ts";
import { dockerDriver } from "../docker-driver.ts";
import { killRunDirectory } from "../kill.ts";
import { openLab, waitForFile } from "./lab.ts";

const image = process.argv[2] ?? "";
const home = mkdtempSync(path.join(tmpdir(), "runyard-user-"));
const { containerProgram, containerNode } = await installRuntime({ home: homeAt(home) });
const driver = dockerDriver({ containerProgram, containerNode, homeId: home });
const lab = await openLab("user");
try {
  const probe = await driver.probe();
  const spec = (argv: readonly string[]) => lab.newSpec(argv, { image });
  const writing = spec(["sh", "-c", 'id -u; echo x >file; echo y >"$HOME/file"; cat; touch /etc/x || echo refused']);
  const result = probe.available ? await lab.run(driver, { ...writing, env: { HOME: "/home/agent" } }) : null;
  const owners =
    result === null
      ? []
      : [path.join(writing.dirs.workspace, "file"), path.join(writing.dirs.home, "file")].map((file) => statSync(file).uid);
  let ended = null;
  if (probe.available) {
    const dir = await lab.start(
      (await lab.prepare(driver, spec(["sh", "-c", "echo up; trap '' TERM; sleep 600 & wait; sleep 600"]))).launch,
    );
    await waitForFile(path.join(dir, "out"));
    await killRunDirectory(dir);
    ended = existsSync(path.join(dir, "container-removed"));
  }
  process.stdout.write(JSON.stringify({ probe, result, owners, ended }));
} finally {
  await lab.close();
  rmSync(home, { recursive: true });
}
