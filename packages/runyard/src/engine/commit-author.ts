import { personOf } from "../store/answer-permission.ts";
import type { Database } from "../store/database.ts";
import type { RunDefaults } from "../store/run-defaults.ts";
import type { RunSpec } from "../store/run-row.ts";
import type { Principal } from "./identity.ts";

/** Who the commits of a new run are by, as the settings have it; of a run that exists this stays. */
export async function commitOf(
  db: Database,
  principal: Principal,
  { author, namesCoAuthor }: RunDefaults["commit"],
): Promise<Pick<RunSpec, "commit">> {
  if (author === null && !namesCoAuthor) return {};
  return { commit: { ...(author !== null && { author }), ...(namesCoAuthor && { coAuthor: await coAuthorOf(db, principal) }) } };
}

/** People here have no address of their own; `.invalid` can never be that of somebody else. */
async function coAuthorOf(db: Database, principal: Principal): Promise<string> {
  const { userId, userName } = await personOf(db, principal);
  // oxlint-disable-next-line no-control-regex -- what would end the line, or begin an address
  const name = (userName ?? userId).replaceAll(/[\u0000-\u001f\u007f<>]/g, " ").trim();
  return `${name || userId} <${userId}@runyard.invalid>`;
}
