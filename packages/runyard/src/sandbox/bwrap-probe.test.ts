import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { explainFailure, probeBwrap } from "./bwrap-probe.ts";
import { sandboxDriver } from "./drivers.ts";
import { openLab } from "./testing/lab.ts";
import { findProgram, SYSTEM_PATH } from "./toolchains.ts";

const OPEN = { apparmorRestrictsUserNamespaces: null, unprivilegedUserNamespaces: null, maxUserNamespaces: "90000" };
const REPOSITORY = fileURLToPath(new URL("../../../../", import.meta.url));

describe("the probe of bwrap", () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), "runyard-bwrap-"));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  /** A program of that name that fails as given. */
  function failing(script: string): string[] {
    writeFileSync(path.join(dir, "bwrap"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return [dir];
  }

  it("says that bwrap is not installed", async () => {
    const found = await probeBwrap([path.join(dir, "nothing")]);
    expect(found).toEqual({
      available: false,
      reason: "bubblewrap is not installed: install the package `bubblewrap`, or choose the driver `process`, which does not isolate.",
    });
  });

  it("repeats what bwrap said, and says what to do", async () => {
    const switches = { ...OPEN, apparmorRestrictsUserNamespaces: "1" };
    const found = await probeBwrap(failing("echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1"), () => switches);
    expect(found).toMatchObject({ available: false, reason: expect.stringContaining("bwrap: setting up uid map: Permission denied") });
    expect(found).toMatchObject({ reason: expect.stringContaining("kernel.apparmor_restrict_unprivileged_userns=0") });
  });

  it("does without the ban on further user namespaces where this bwrap does not know it", async () => {
    const old = failing(`case " $* " in *--disable-userns*) echo 'bwrap: Unknown option --disable-userns' >&2; exit 1;; esac`);
    expect(await probeBwrap(old)).toMatchObject({ available: true, disableUserNamespaces: false });
  });

  it.each([
    ["bwrap: Unknown option --clearenv", OPEN, "Install version 0.5 or newer"],
    ["bwrap: No permissions to create a new namespace", { ...OPEN, maxUserNamespaces: "0" }, "user.max_user_namespaces=10000"],
    ["bwrap: No permissions to create a new namespace", { ...OPEN, unprivilegedUserNamespaces: "0" }, "kernel.unprivileged_userns_clone=1"],
    [
      "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
      { ...OPEN, apparmorRestrictsUserNamespaces: "1" },
      "/etc/apparmor.d/bwrap",
    ],
    ["bwrap: Creating new namespace failed: Operation not permitted", OPEN, "inside most containers"],
    ["bwrap: something else", OPEN, "Find out with"],
    ["", OPEN, "bwrap said nothing"],
  ])("explains %j", (said, switches, advice) => {
    const reason = explainFailure(said, switches);
    expect(reason).toContain(advice);
    expect(reason).toContain("the driver `process`, which does not isolate");
  });

  const installed = findProgram("bwrap", SYSTEM_PATH) !== null;
  it.runIf(installed)("finds out what this machine refuses, tried where user namespaces are forbidden: in a sandbox", async ({ skip }) => {
    const driver = sandboxDriver("bwrap");
    const found = await probeBwrap(SYSTEM_PATH);
    if (!found.available || !found.disableUserNamespaces) skip("this bwrap cannot forbid user namespaces");
    const lab = await openLab("probe");
    onTestFinished(() => lab.close());
    const script = `const { probeBwrap } = await import(${JSON.stringify(fileURLToPath(new URL("bwrap-probe.ts", import.meta.url)))});
      console.log(JSON.stringify(await probeBwrap(["/usr/bin"])));`;
    const spec = lab.newSpec(["node", "--import", "tsx", "--conditions=runyard-source", "--input-type=module", "-e", script], {
      mounts: [{ source: REPOSITORY, target: REPOSITORY, mode: "ro" }],
    });
    const result = await lab.run(driver, { ...spec, argv: ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", REPOSITORY, ...spec.argv] });
    expect(result.stderr).toBe("");
    expect(JSON.parse(result.stdout)).toMatchObject({
      available: false,
      reason: expect.stringContaining("A sandbox could not be started (bwrap: "),
    });
  });
});
