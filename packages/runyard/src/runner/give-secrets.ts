import { isDeepStrictEqual } from "node:util";
import { whyNotGiven } from "../core/header-secrets.ts";
import { createRedactor } from "../redact.ts";
import { readRunDefaults } from "../store/run-defaults.ts";
import { findSecrets, type GivenSecret, givenSecrets, noteGiven, openSecret } from "../store/secrets.ts";
import type { RunRow } from "../store/run-row.ts";
import { VaultError } from "../store/vault.ts";
import type { RunnerContext } from "./context.ts";
import { FencedError, RunFailure } from "./run-handle.ts";
import { NO_SECRETS, type RunSecrets } from "./run-secrets.ts";

export function openRunSecrets(ctx: Pick<RunnerContext, "db" | "vault">, run: RunRow): RunSecrets {
  const names = run.spec.secrets ?? [];
  if (names.length === 0) return NO_SECRETS;
  let given: readonly GivenSecret[] = [];
  let redactor = NO_SECRETS.redactor;
  let isLoaded = false;
  const learn = (secrets: readonly GivenSecret[]): void => {
    given = [...given, ...secrets];
    redactor = createRedactor([], given);
  };
  const inForce = (): GivenSecret[] => names.flatMap((name) => given.findLast((one) => one.name === name) ?? []);
  return {
    get given() {
      return given;
    },
    get environment() {
      return Object.fromEntries(inForce().flatMap(({ name, value, place }) => (place === null ? [[name, value]] : [])));
    },
    get headers() {
      return inForce().flatMap(({ place, ...secret }) => (place === null ? [] : [{ ...secret, place }]));
    },
    get redactor() {
      return redactor;
    },
    async load() {
      if (isLoaded) return;
      learn(await orFail(() => givenSecrets(ctx.db, ctx.vault, run), "The secrets that the run was given cannot be read"));
      isLoaded = true;
    },
    async give(row) {
      const found = await findSecrets(ctx.db, {
        orgId: row.org_id,
        names,
        repositoryUrl: row.repository_url,
        agentId: row.agent_id,
      });
      const missing = names.filter((name) => !found.some((secret) => secret.name === name));
      if (missing.length > 0) throw notThere(missing);
      const current: GivenSecret[] = [];
      for (const secret of found)
        current.push(await orFail(() => openSecret(ctx.vault, secret), `The secret ${secret.name} cannot be read`));
      // It may have been stored anew for a header, and the organization may allow other hosts, since the run was created.
      const { egressAllowed } = (await readRunDefaults(ctx.db, row.org_id, row.repository_url)).bounds;
      const why = whyNotGiven(current, { isIsolated: row.spec.sandboxDriver !== "process", egressAllowed });
      if (why !== null) throw new RunFailure({ type: "sandbox-unavailable", message: why.message });
      const news = current.filter(
        (secret) =>
          !isDeepStrictEqual(
            given.findLast((one) => one.name === secret.name),
            secret,
          ),
      );
      if (news.length === 0) return;
      if (!(await noteGiven(ctx.db, ctx.vault, { run: row, secrets: news })))
        throw new FencedError(`Run ${row.id} is not this runner's any more`);
      learn(news);
    },
  };
}

function notThere(names: readonly string[]): RunFailure {
  const [first] = names;
  const message =
    names.length === 1
      ? `The secret ${first} that the run is to be given is not there any more. Store it again (runyard secrets set ${first}), and start the run again.`
      : `The secrets ${names.join(", ")} that the run is to be given are not there any more. Store them again (runyard secrets set ${first} and so on), and start the run again.`;
  return new RunFailure({ type: "sandbox-unavailable", message });
}

/** What the vault says against it is for the user. */
async function orFail<T>(read: () => T | Promise<T>, what: string): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof VaultError) throw new RunFailure({ type: "sandbox-unavailable", message: `${what}: ${error.message}.` });
    throw error;
  }
}
