import path from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { SshKeyCredential } from "../core/remote-credential.ts";
import { openRepositoryProxy, type RepositoryProxy } from "../gateway/repository-proxy.ts";
import { findSshd, type SshServer, startSshServer } from "../testing/ssh-server.ts";
import { findAndCache } from "./cache.ts";
import type { GitHost } from "./host-git.ts";
import { inspectRepository } from "./local-repository.ts";
import { publishBranch, remoteOutcome } from "./publish.ts";
import { hostByUrl } from "./testing/by-url.ts";
import { type GitLab, openGitLab, plainGit, whyNoSandbox } from "./testing/lab.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

const full = Boolean(process.env["RUNYARD_TEST_FULL"]);
const title = full ? (whyNoSandbox ?? "by SSH") : "by SSH: only in the full tests";

describe.skipIf(!full || whyNoSandbox !== null)(title, () => {
  let lab: GitLab;
  let proxy: RepositoryProxy;
  let server: SshServer | undefined;
  let why = "";
  let key: SshKeyCredential;
  const pinned: string[] = [];

  beforeAll(async () => {
    lab = await openGitLab();
    proxy = await openRepositoryProxy({ allowed: ["127.0.0.1"] });
    const sshd = findSshd(lab.newPath("packages"));
    if ("reason" in sshd) return void (why = sshd.reason);
    server = await startSshServer(lab.newPath("sshd"), sshd);
    key = { kind: "ssh-key", id: "credential_1", privateKey: server.privateKey, knownHosts: server.knownHosts() };
  });
  afterAll(async () => {
    await server?.close();
    await proxy.close();
    await lab.close();
  });

  const hostWith = (credential: SshKeyCredential | null, way: RepositoryProxy = proxy): GitHost =>
    hostByUrl(lab.host, way, {
      credentialFor: async () => credential,
      pinHost: async (_id, knownHosts) => void pinned.push(knownHosts),
    });

  test("fetches and pushes, learns a host's key once, and refuses another one", async ({ skip }) => {
    if (server === undefined) return skip(why);
    const dir = path.join(lab.newPath("served"), "app.git");
    plainGit(lab.root, "clone", "--quiet", "--bare", lab.newRepository(), dir);
    const url = `ssh://git@127.0.0.1:${server.port}${dir}`;
    const host = hostWith(key);
    const { commit, branch, notices } = await inspectRepository(host, url);
    expect({ branch, notices }).toEqual({ branch: "main", notices: [] });
    const { repository, cachePath } = await findAndCache(host, {
      repositoryUrl: url,
      cacheDir: lab.newPath("cache"),
      commit,
      runId: "run_1",
    });
    const head = plainGit(cachePath, "commit-tree", `${commit}^{tree}`, "-p", commit, "-m", "Result").trim();
    const publish = { repository, cachePath, head, branch: "runyard/run_1" };
    expect(await publishBranch(host, publish)).toEqual({ created: true });
    expect(plainGit(dir, "rev-parse", "runyard/run_1").trim()).toBe(head);
    expect(await publishBranch(host, publish)).toEqual({ created: false });

    expect(await inspectRepository(hostWith({ ...key, knownHosts: null }), url)).toMatchObject({ notices: [{ code: "host-key-pinned" }] });
    expect(pinned).toEqual([server.knownHosts().trimEnd().replace(/ $/, "") + "\n"]);
    expect(await inspectRepository(hostWith({ ...key, knownHosts: pinned[0] ?? "" }), url)).toMatchObject({ notices: [] });

    await expect(inspectRepository(hostWith(null), url)).rejects.toThrow(/No key is stored.*--ssh-key FILE/);
    const closed = await openRepositoryProxy({ allowed: [] });
    const refused = await inspectRepository(hostWith(key, closed), url).catch((error: unknown) => error);
    await closed.close();
    expect(remoteOutcome(refused)).toBe("address-refused");

    await server.changeHostKey();
    const changed = await inspectRepository(host, url).catch((error: unknown) => error);
    expect(remoteOutcome(changed)).toBe("host-key");
    expect(String(changed)).toContain("somebody may be in between");
    const missing = await inspectRepository(hostWith({ ...key, knownHosts: server.knownHosts() }), `${url}-missing`).catch(
      (error: unknown) => error,
    );
    expect(remoteOutcome(missing)).toBe("not-found");
    const stranger = await startSshServer(
      lab.newPath("stranger"),
      findSshd(lab.newPath("packages")) as { program: string; libraries: string },
    );
    await stranger.close();
    const other = { ...key, privateKey: stranger.privateKey, knownHosts: server.knownHosts() };
    const locked = await inspectRepository(hostWith(other), url).catch((error: unknown) => error);
    expect(remoteOutcome(locked)).toBe("authentication-failed");
  });
});
