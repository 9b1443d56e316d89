import { Agent, get, type IncomingMessage } from "node:http";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { CreateRunRequest, Run, RunEvent, SandboxDriverName } from "@runyard/sdk/contract";
import type { BenchServer } from "./home.ts";
import { AGENT_COMMANDS, type AgentKind } from "./repository.ts";

const connections = new Agent({ keepAlive: true, maxSockets: Infinity });

/** A body for `POST /v1/agent-runs`: the least agent with the least task. */
export function trivialRun(options: { repository: string; agent: AgentKind; driver: SandboxDriverName; task?: string }): CreateRunRequest {
  return {
    task: options.task ?? "Say ok",
    repositoryUrl: options.repository,
    agent: { command: [...AGENT_COMMANDS[options.agent]] },
    settings: { sandboxDriver: options.driver },
  };
}

/** Creates a run, over a connection that is kept. */
export async function createRun(server: BenchServer, body: CreateRunRequest): Promise<Run> {
  const response = await fetch(`${server.url}/v1/agent-runs`, {
    method: "POST",
    headers: { authorization: `Bearer ${server.token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.status !== 201) throw new Error(`A run was refused (${response.status}): ${await response.text()}`);
  return (await response.json()) as Run;
}

/** Opens the live log of a run. */
export async function openLog(server: BenchServer, runId: string): Promise<IncomingMessage> {
  const headers = { authorization: `Bearer ${server.token}`, accept: "text/event-stream" };
  const request = get(`${server.url}/v1/agent-runs/${runId}/events`, { headers, agent: connections });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`The log of ${runId} was refused (${response.statusCode})`);
  return response;
}

/** Reads a run's log to the end of its turn; `onEvent` hears of each event as it comes. Throws when the run did not complete. */
export async function followRun(server: BenchServer, runId: string, onEvent: (event: RunEvent) => void = () => {}): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  for await (const line of createInterface({ input: await openLog(server, runId) })) {
    if (!line.startsWith("data: ")) continue;
    const event = JSON.parse(line.slice(6)) as RunEvent | { type: "stream.done" };
    if (event.type === "stream.done") continue;
    events.push(event);
    onEvent(event);
  }
  const last = events.at(-1);
  if (last?.type !== "run.completed") throw new Error(`The run ended with ${JSON.stringify(last)}`);
  return events;
}
