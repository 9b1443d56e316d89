import type { ServerResponse } from "node:http";
import { z } from "zod";
import { beginAnswer, passedHeaders, refuse } from "./answer.ts";
import { authorization, unansweredRefusal } from "./exchange.ts";
import { MODEL_ALIAS, type Provider } from "./protocol.ts";
import { createRedactor } from "./redact.ts";
import type { LiveRun } from "./registry.ts";
import { callUpstream, urlBelow } from "./upstream.ts";

const MAX_LIST_BYTES = 16 * 1024 * 1024;
const TIMEOUT_MS = 60_000;

const listSchema = z.looseObject({ data: z.array(z.unknown()) });

/** Passes the provider's list of models on, with the alias in front: it is a name that the gateway takes. No model is called, so nothing is journalled. */
export async function listModels(run: LiveRun, response: ServerResponse, provider: Provider): Promise<void> {
  const redactor = createRedactor([provider.apiKey]);
  const signal = AbortSignal.any([run.closed, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    const answer = await callUpstream({
      method: "GET",
      url: urlBelow(provider.baseUrl, "/models"),
      headers: authorization(provider),
      body: null,
      signal,
    });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer) {
      size += (chunk as Buffer).length;
      if (size > MAX_LIST_BYTES) throw new Error(`The provider's list of models is longer than ${MAX_LIST_BYTES} bytes.`);
      chunks.push(chunk as Buffer);
    }
    const status = answer.statusCode ?? 502;
    const isRedirect = status >= 300 && status < 400;
    if (isRedirect) throw new Error(`The model provider answered with a redirect (${status}), which Runyard does not follow.`);
    const body = redactor.bytes(Buffer.concat(chunks));
    beginAnswer(response, status, { "content-type": "application/json", ...passedHeaders(answer.headers, redactor) });
    response.end(status === 200 ? withAlias(body) : body);
  } catch (error) {
    refuse(response, unansweredRefusal(error, redactor));
  }
}

function withAlias(body: Buffer): Buffer {
  try {
    const list = listSchema.parse(JSON.parse(body.toString()));
    const alias = { id: MODEL_ALIAS, object: "model", created: 0, owned_by: "runyard" };
    return Buffer.from(JSON.stringify({ ...list, data: [alias, ...list.data] }));
  } catch {
    return body;
  }
}
