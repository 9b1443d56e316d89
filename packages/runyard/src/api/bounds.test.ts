// What runs are held in by: the isolation floor and the hosts that they may reach, over the real engine and a real PostgreSQL.
import type { CreateRunRequest, Run } from "@runyard/sdk/contract";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { SandboxState } from "../engine/engine.ts";
import { serve, type Served } from "./testing/served.ts";

const HARD = { filesystem: "hard", network: "hard", processes: "hard", syscalls: "hard" } as const;
const NONE = { filesystem: "none", network: "none", processes: "none", syscalls: "none" } as const;
const ALL = { memory: true, cpus: true, pids: true };

let bwrap: Partial<SandboxState> = {};
let served: Served;
beforeAll(async () => {
  served = await serve({
    defaultDriver: "bwrap",
    probeSandbox: async (driver) => {
      const isolation = driver === "bwrap" ? HARD : NONE;
      return { available: true, reason: null, isolation, limits: ALL, ...(driver === "bwrap" && bwrap) };
    },
  });
});
afterAll(() => served?.close());
afterEach(async () => {
  bwrap = {};
  await served.client.organization.update({ isolationFloor: null, egress: null, egressAllowed: null });
});

const create = (more: Partial<CreateRunRequest> = {}): Promise<Run> =>
  served.client.runs.create({ task: "x", repositoryUrl: "/repository", ...more });
const refused = (code: string, message: RegExp) => ({ code, message: expect.stringMatching(message) as string, status: 422 });

test("the floor is sandbox unless a driver without isolation was chosen, and a run shows it", async () => {
  expect((await create()).settings).toMatchObject({ isolationFloor: "sandbox", sandboxDriver: "bwrap" });
  expect((await create({ settings: { sandboxDriver: "process" } })).settings.isolationFloor).toBe("none");
  expect(await served.client.organization.get()).toMatchObject({ isolationFloor: null, egress: [], egressAllowed: null });
});

test("an organization's floor forbids a driver without isolation, and no run can lower it", async () => {
  const { organization } = served.client;
  expect(await organization.update({ isolationFloor: "sandbox" })).toMatchObject({ isolationFloor: "sandbox", planFirst: false });
  const process = { sandboxDriver: "process" } as const;
  const below = refused("below_isolation_floor", /floor sandbox \(of the organization\) asks for isolated files.*driver bwrap/);
  await expect(create({ settings: process })).rejects.toMatchObject(below);
  await expect(create({ settings: { ...process, isolationFloor: "none" } })).rejects.toMatchObject(below);
  expect((await create({ settings: { isolationFloor: "none" } })).settings.isolationFloor).toBe("sandbox");
  expect(await organization.update({ isolationFloor: null })).toMatchObject({ isolationFloor: null });
  expect((await create({ settings: process })).settings.isolationFloor).toBe("none");
});

test("a run and its agent can raise it; what the machine cannot keep is refused with what to do", async () => {
  await served.client.agents.create({ name: "careful", settings: { isolationFloor: "strict" } });
  expect((await create({ settings: { isolationFloor: "strict" } })).settings.isolationFloor).toBe("strict");
  bwrap = { limits: { ...ALL, memory: false } };
  await expect(create({ settings: { isolationFloor: "strict" } })).rejects.toMatchObject(
    refused(
      "below_isolation_floor",
      /strict \(of the run\) asks for limited memory, which the sandbox would not have\. Start the server in a control group/,
    ),
  );
  await expect(create({ agent: { name: "careful" }, settings: { isolationFloor: "none" } })).rejects.toMatchObject(
    refused("below_isolation_floor", /of the agent/),
  );
  expect((await create()).settings.isolationFloor).toBe("sandbox");
  bwrap = { isolation: { ...HARD, syscalls: "none" } };
  await expect(create({ settings: { isolationFloor: "strict" } })).rejects.toMatchObject(
    refused("below_isolation_floor", /filtered system calls, which.*\. Use a kernel/),
  );
});

test("a turn that is continued is held to the floor and the hosts that hold by then", async () => {
  const { organization, runs } = served.client;
  const ended = async (settings: CreateRunRequest["settings"]): Promise<Run> => {
    const run = await create({ ...(settings && { settings }) });
    await served.complete(await served.claim(run.id));
    return run;
  };
  const [free, reaching, plain] = [
    await ended({ sandboxDriver: "process" }),
    await ended({ egress: ["api.example.com"] }),
    await ended(undefined),
  ];
  await organization.update({ isolationFloor: "sandbox", egressAllowed: ["npm"] });
  await expect(runs.continue(free.id, "more")).rejects.toMatchObject(refused("below_isolation_floor", /of the organization/));
  await expect(runs.continue(reaching.id, "more")).rejects.toMatchObject(refused("egress_not_allowed", /api\.example\.com/));
  await organization.update({ isolationFloor: "strict" });
  expect((await runs.continue(plain.id, "more")).settings.isolationFloor).toBe("strict");
});

test("hosts add up, whoever gives them, and the run says who did", async () => {
  const { organization, repositories, agents } = served.client;
  const { id } = await repositories.create("/reaching");
  expect(await organization.update({ egress: ["npm", "npm"] })).toMatchObject({ egress: ["npm"] });
  expect(await repositories.update(id, { egress: ["API.example.com"] })).toMatchObject({ egress: ["api.example.com"], plan: null });
  await agents.create({ name: "reacher", settings: { egress: ["go", "npm"] } });
  const run = await create({ repositoryUrl: "/reaching", agent: { name: "reacher" }, settings: { egress: ["a.example", "go"] } });
  expect(run.settings).toMatchObject({
    egress: ["npm", "api.example.com", "go", "a.example"],
    egressFrom: { npm: ["organization", "agent"], "api.example.com": ["repository"], go: ["agent", "run"], "a.example": ["run"] },
  });
  expect(await repositories.update(id, { egress: null })).toMatchObject({ egress: [] });
  expect((await create({ repositoryUrl: "/reaching" })).settings.egress).toEqual(["npm"]);
  expect(run.egressDenied).toEqual([]);
});

test("what the organization does not allow is refused by name, whoever gives it", async () => {
  const { organization, repositories } = served.client;
  const { id } = await repositories.create("/bounded");
  await organization.update({ egressAllowed: ["npm", "*.example.com"] });
  expect((await create({ settings: { egress: ["npm", "api.example.com"] } })).settings.egress).toEqual(["npm", "api.example.com"]);
  await expect(create({ settings: { egress: ["npm", "example.com"] } })).rejects.toMatchObject(
    refused("egress_not_allowed", /reach example\.com \(of the run\): its setting `egressAllowed`/),
  );
  await repositories.update(id, { egress: ["go"] });
  await expect(create({ repositoryUrl: "/bounded" })).rejects.toMatchObject(
    refused("egress_not_allowed", /proxy\.golang\.org \(go, of the repository\), sum\.golang\.org/),
  );
  await organization.update({ egressAllowed: [] });
  await expect(create({ settings: { egress: ["npm"] } })).rejects.toMatchObject({ code: "egress_not_allowed" });
  expect((await create()).settings.egress).toEqual([]);
  // Nothing would hold such a run to the list.
  await expect(create({ settings: { sandboxDriver: "process" } })).rejects.toMatchObject(
    refused("egress_not_allowed", /driver process keeps no run from reaching others/),
  );
  await organization.update({ egressAllowed: null });
  expect((await create({ settings: { egress: ["npm", "example.com"] } })).settings.egress).toEqual(["npm", "example.com"]);
});

test("what a run was not let to reach is shown with it, each host once", async () => {
  const { id } = await create();
  const denied = (target: string) => ({ type: "egress.denied" as const, data: { target, reason: "not allowed to this run" } });
  await served.say(await served.claim(id), [denied("b.example:443"), denied("a.example:443"), denied("b.example:443")]);
  const egressDenied = [denied("b.example:443").data, denied("a.example:443").data];
  expect((await served.client.runs.get(id)).egressDenied).toEqual(egressDenied);
  expect((await served.client.runs.list({ limit: 1 })).data).toMatchObject([{ id, egressDenied }]);
});

test("what is no floor or no host is refused with its place", async () => {
  const bad = async (path: string, body: unknown, at: string) =>
    expect(await served.ask(path === "/agent-runs" ? "POST" : "PATCH", path, { body })).toMatchObject({
      status: 422,
      body: { code: "invalid_request", errors: [{ path: at }] },
    });
  const { id } = await served.client.repositories.create("/bad");
  await bad("/organization", { isolationFloor: "hard" }, "isolationFloor");
  await bad("/organization", { egressAllowed: ["10.0.0.1"] }, "egressAllowed[0]");
  await bad(`/repositories/${id}`, { egress: ["localhost"] }, "egress[0]");
  await bad("/agent-runs", { task: "x", repositoryUrl: "/r", settings: { isolationFloor: 1 } }, "settings.isolationFloor");
});
