import {
  answerPermissionSchema,
  answerQuestionSchema,
  continueRunSchema,
  createRunSchema,
  listRunsSchema,
  permissionIdSchema,
  questionIdSchema,
  rejectRunSchema,
  ROUTES,
  runIdSchema,
  RunyardError,
} from "@runyard/sdk/contract";
import type { z } from "zod";
import { readJson, readJsonOrNothing } from "./body.ts";
import type { ApiContext, ApiHandler } from "./context.ts";
import type { ApiEngine } from "./engine.ts";
import { idempotencyKeyOf } from "./idempotency.ts";
import { sayRateLimit } from "./rate-limit.ts";
import { queryOf, validate } from "./validate.ts";

type RunRoute =
  | "createRun"
  | "estimateRun"
  | "listRuns"
  | "getRun"
  | "cancelRun"
  | "continueRun"
  | "resumeRun"
  | "approveRun"
  | "rejectRun"
  | "answerPermission"
  | "answerQuestion";

/** The run of the path. One that cannot exist is not looked for. */
export function runIdOf(c: ApiContext): string {
  const id = c.req.param("id") ?? "";
  if (!runIdSchema.safeParse(id).success) throw new RunyardError("run_not_found", "No run has this id.");
  return id;
}

function requestIdOf(c: ApiContext, name: "pid" | "qid", schema: z.ZodType<string>): string {
  const id = c.req.param(name) ?? "";
  if (!schema.safeParse(id).success) throw new RunyardError("request_not_found", "The run has no request with this id.");
  return id;
}

/** The routes that read and write runs; what they said and made is in `events.ts`, `logs.ts` and `results.ts`. */
export function runHandlers(engine: ApiEngine): Record<RunRoute, ApiHandler> {
  const continueRun: ApiHandler = async (c) => {
    const id = runIdOf(c);
    const input = validate(continueRunSchema, await readJson(c.req.raw));
    return c.json(await engine.continueRun(c.var.principal, id, input), 202);
  };
  return {
    continueRun,
    resumeRun: continueRun,
    createRun: async (c) => {
      const input = validate(createRunSchema, await readJson(c.req.raw));
      const idempotencyKey = idempotencyKeyOf(c.req.raw.headers, input.idempotencyKey);
      const { run, replayed, rate } = await engine.createRun(c.var.principal, { ...input, idempotencyKey });
      if (rate !== null) sayRateLimit(c, rate);
      if (replayed) c.header("Idempotent-Replayed", "true");
      return c.json(run, 201, { Location: ROUTES.getRun.path.replace("{id}", run.id) });
    },
    estimateRun: async (c) => c.json(await engine.estimateRun(c.var.principal, validate(createRunSchema, await readJson(c.req.raw)))),
    listRuns: async (c) => c.json(await engine.listRuns(c.var.principal, validate(listRunsSchema, queryOf(c.req.url)))),
    getRun: async (c) => c.json(await engine.getRun(c.var.principal, runIdOf(c))),
    cancelRun: async (c) => c.json(await engine.cancelRun(c.var.principal, runIdOf(c)), 202),
    approveRun: async (c) => c.json(await engine.approveRun(c.var.principal, runIdOf(c)), 202),
    rejectRun: async (c) => {
      const [id, input] = [runIdOf(c), validate(rejectRunSchema, await readJsonOrNothing(c.req.raw))];
      return c.json(await engine.rejectRun(c.var.principal, id, input), 202);
    },
    answerPermission: async (c) => {
      const [id, permissionId] = [runIdOf(c), requestIdOf(c, "pid", permissionIdSchema)];
      const answer = validate(answerPermissionSchema, await readJson(c.req.raw));
      return c.json(await engine.answerPermission(c.var.principal, id, permissionId, answer));
    },
    answerQuestion: async (c) => {
      const [id, questionId] = [runIdOf(c), requestIdOf(c, "qid", questionIdSchema)];
      const { answer } = validate(answerQuestionSchema, await readJson(c.req.raw));
      return c.json(await engine.answerQuestion(c.var.principal, id, questionId, answer));
    },
  };
}
