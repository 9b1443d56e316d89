import pg from "pg";

/** 15 is the oldest that its makers still maintain, and the oldest that Runyard is tested with. */
const OLDEST_MAJOR = 15;
const ROLES = ["runyard_app", "runyard_system"];

/** Refuses a server that is too old or whose database cannot hold every text. */
export async function checkServerVersion(client: pg.Client): Promise<void> {
  const answer = await client.query<{ version: number; encoding: string }>(
    "select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding",
  );
  const row = answer.rows[0];
  const refusal = row === undefined ? "The database gave no version" : refuseServer(row.version, row.encoding);
  if (refusal !== null) throw new Error(refusal);
}

/** Why a server cannot be used (a sentence), or null; `version` is its `server_version_num`. */
export function refuseServer(version: number, encoding: string): string | null {
  const major = Math.floor(version / 10_000);
  if (major < OLDEST_MAJOR) {
    return `This PostgreSQL server is version ${major}, and Runyard needs ${OLDEST_MAJOR} or newer: upgrade it, or leave out DATABASE_URL to use the built-in one.`;
  }
  if (encoding !== "UTF8") {
    return `The database has the encoding ${encoding}, and Runyard needs UTF8: make one with \`create database runyard encoding 'UTF8' template template0\`.`;
  }
  return null;
}

/** Refuses roles under which row-level security would not hold, or that this user cannot act as. */
export async function requireRoles(client: pg.Client): Promise<void> {
  const answer = await client.query<{ rolname: string; unsafe: boolean; usable: boolean }>(
    `select rolname, rolsuper or rolbypassrls as unsafe,
            pg_has_role(current_user, oid, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end) as usable
     from pg_roles where rolname = any($1)`,
    [ROLES],
  );
  for (const name of ROLES) {
    const role = answer.rows.find((row) => row.rolname === name);
    if (role === undefined) throw new Error(missingMessage(await whoAmI(client)));
    if (role.unsafe) {
      throw new Error(
        `The role ${name} is a superuser or bypasses row-level security, so it would see every organization: ` +
          `as an administrator, run\n  alter role ${name} nosuperuser nobypassrls;`,
      );
    }
    if (!role.usable) throw new Error(missingMessage(await whoAmI(client)));
  }
}

/** What a failed migration is told as: where rights are missing, the statements that give them. */
export async function explainRefusal(client: pg.Client, name: string, error: unknown): Promise<Error> {
  if (!(error instanceof pg.DatabaseError)) return error instanceof Error ? error : new Error(String(error));
  const where = error.position === undefined ? "" : ` at character ${error.position}`;
  const what = `The migration ${name} failed${where} and was rolled back: ${error.message}.`;
  if (error.code !== "42501") return new Error(what, { cause: error });
  return new Error(`${what} ${missingMessage(await whoAmI(client))}`, { cause: error });
}

interface WhoAmI {
  readonly user: string;
  readonly database: string;
}

async function whoAmI(client: pg.Client): Promise<WhoAmI> {
  const answer = await client.query<WhoAmI>("select quote_ident(current_user) as user, quote_ident(current_database()) as database");
  return answer.rows[0] ?? { user: "the_user_of_DATABASE_URL", database: "the_database" };
}

function missingMessage({ user, database }: WhoAmI): string {
  const statements = [
    ...ROLES.map((role) => `create role ${role} nologin; -- unless it exists`),
    `grant ${ROLES.join(", ")} to ${user};`,
    `grant create on database ${database} to ${user};`,
  ];
  return `The user ${user} lacks rights. As an administrator of this PostgreSQL server, run\n${statements.map((line) => `  ${line}`).join("\n")}\nand start again.`;
}
