import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, connect, type Server } from "node:net";
import path from "node:path";
import type { NewEvent, PermissionPolicy } from "@runyard/sdk/contract";
import {
  begin,
  cancelLines,
  permissionAnswer,
  receive,
  type ConversationSpec,
  type ConversationState,
  type NewRequest,
} from "../../src/agents/acp/conversation.ts";
import type { AgentProfile, ProfileContext } from "../../src/agents/profiles/profile.ts";
import { normalizePolicy } from "../../src/core/permission-policy.ts";
import { InWriter, OutReader } from "../../src/sandbox/journal.ts";
import { killRunDirectory } from "../../src/sandbox/kill.ts";
import { readExitCode } from "../../src/sandbox/run-directory.ts";
import type { SandboxDriver } from "../../src/sandbox/driver.ts";
import { waitFor, type Lab } from "../../src/sandbox/testing/lab.ts";

/** What came of one turn of a real agent in a sandbox. */
export interface Turn {
  readonly state: ConversationState;
  readonly events: readonly NewEvent[];
  readonly exitCode: number;
  readonly workspace: string;
  /** The agent's run directory, with its journals. */
  readonly dir: string;
}

export interface TurnOptions {
  readonly lab: Lab;
  readonly driver: SandboxDriver;
  readonly profile: AgentProfile;
  /** Base URL of the model on loopback, with `/v1`. */
  readonly modelUrl: string;
  readonly prompt: string;
  readonly policy?: Partial<PermissionPolicy>;
  /** Files of the workspace before the turn. */
  readonly files?: Readonly<Record<string, string>>;
  /** What a person says to a request. */
  readonly decide?: (request: NewRequest) => "allow" | "deny";
  /** Does not wait for the agent to leave by itself. */
  readonly thenKill?: boolean;
  /** True when the turn is to be cancelled. */
  readonly cancelWhen?: (events: readonly NewEvent[]) => boolean;
}

/** A small runner: lets an agent do one turn over shim, journal and sandbox, as the product does it. */
export async function runTurn(options: TurnOptions): Promise<Turn> {
  const { lab, driver, profile } = options;
  const door = await openDoor(lab, options.modelUrl);
  try {
    const spec = lab.newSpec([], { gatewayDoorDir: door.dir });
    const inside = driver.pathsInside(spec.dirs);
    const gatewayUrl = driver.gatewayUrl(door.port);
    const context: ProfileContext = {
      ...inside,
      gatewayUrl,
      token: "run-token",
      model: "scripted",
      command: null,
      builtinProgram: "/none",
      nodeProgram: process.execPath,
    };
    for (const [name, content] of Object.entries(options.files ?? {})) writeBelow(spec.dirs.workspace, name, content);
    for (const file of profile.homeFiles(context)) writeBelow(spec.dirs.home, file.path, file.content);
    const argv = profile.argv(context);
    const prepared = await driver.prepare({ ...spec, argv, env: profile.env(context), mounts: profile.mounts() });
    const dir = await lab.start(prepared.launch);
    const conversation: ConversationSpec = {
      cwd: inside.workspace,
      prompt: options.prompt,
      attempt: 1,
      policy: normalizePolicy(options.policy ?? {}),
      profileQuirks: profile.quirks,
    };
    return { ...(await converse(dir, conversation, options)), workspace: spec.dirs.workspace, dir };
  } finally {
    await door.close();
  }
}

async function converse(dir: string, spec: ConversationSpec, options: TurnOptions): Promise<Pick<Turn, "state" | "events" | "exitCode">> {
  const out = new OutReader(path.join(dir, "out"), 0);
  const input = await waitFor(() => InWriter.open(dir));
  const events: NewEvent[] = [];
  let sent = 0;
  const send = (lines: readonly string[]): void => {
    for (const line of lines) {
      input.write(line, sent);
      sent += Buffer.byteLength(line);
    }
    if (lines.length > 0) input.ring();
  };
  const first = begin(spec);
  let state = first.state;
  let cancelled = false;
  send(first.lines);
  const step = (): boolean => {
    const exited = readExitCode(dir) !== null;
    const { lines, bytes } = out.read();
    const result = receive(state, spec, lines);
    state = result.state;
    events.push(...result.events);
    send(result.lines);
    for (const request of result.requests) {
      const answer = permissionAnswer(request, options.decide?.(request) ?? "deny", { userId: "user_test" });
      events.push(answer.event);
      send([answer.line]);
    }
    if (!cancelled && options.cancelWhen?.(events)) {
      cancelled = true;
      send(cancelLines(state, []));
    }
    return state.outcome !== null || (exited && bytes === 0);
  };
  try {
    await waitFor(step);
    if (options.thenKill === true) await killRunDirectory(dir);
    else input.closeStdin();
    const exitCode = await waitFor(() => readExitCode(dir)?.toString() ?? null);
    return { state, events, exitCode: Number(exitCode) };
  } finally {
    input.close();
    out.close();
  }
}

/** What stands for the gateway: the same model behind a TCP port and behind a socket in a directory. */
async function openDoor(lab: Lab, modelUrl: string): Promise<{ readonly dir: string; readonly port: number; close(): Promise<void> }> {
  const port = Number(new URL(modelUrl).port);
  const dir = path.join(lab.root, `door-${Date.now()}`);
  mkdirSync(dir, { recursive: true });
  const relay: Server = createServer((client) => {
    const model = connect(port, "127.0.0.1");
    client.pipe(model).pipe(client);
    for (const socket of [client, model]) socket.on("error", () => [client, model].forEach((one) => one.destroy()));
  });
  await new Promise<void>((resolve) => relay.listen(path.join(dir, "sock"), resolve));
  return { dir, port, close: () => new Promise((resolve) => relay.close(() => resolve())) };
}

function writeBelow(dir: string, name: string, content: string): void {
  const file = path.join(dir, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
}
