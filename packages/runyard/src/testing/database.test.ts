import { once } from "node:events";
import pg from "pg";
import { expect, test } from "vitest";
import { firstLineOf, moduleUrl, outputOf, startNode } from "../store/postgres/testing.ts";
import { createTestDatabase, databaseIn, withDatabase } from "./database.ts";
import { testServerUrl } from "./test-server.ts";

async function databases(pattern: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: await testServerUrl() });
  await client.connect();
  const found = await client.query<{ datname: string }>("select datname from pg_database where datname ~ $1", [pattern]);
  await client.end();
  return found.rows.map((row) => row.datname);
}

test("each is a migrated database of its own, and goes when it is dropped", async () => {
  const [one, two] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  const where = "select current_database() as name, to_regprocedure('runyard.current_org()') is not null as migrated";
  const [first] = await one.db.query<{ name: string; migrated: boolean }>(where);
  const [second] = await two.db.query<{ name: string; migrated: boolean }>(where);
  expect(first?.name).not.toBe(second?.name);
  expect([first?.migrated, second?.migrated]).toEqual([true, true]);
  await Promise.all([one.drop(), two.drop()]);
  expect(await databases(`^(${first?.name}|${second?.name})$`)).toEqual([]);
});

test("what a dead test process left is removed by the next one", async () => {
  const program = (then: string): string => `
    import { createTestDatabase } from ${JSON.stringify(moduleUrl("../../testing/database.ts"))};
    const database = await createTestDatabase();
    console.log(database.connectionString);
    ${then}`;
  // Looked at while its process lives: once that is dead, any test process that begins may remove it.
  const left = startNode(program("setInterval(() => undefined, 1_000);"));
  const name = databaseIn(await firstLineOf(left));
  expect(await databases(`^${name}$`)).toEqual([name]);
  left.kill("SIGKILL");
  await once(left, "close");
  await outputOf(startNode(program("await database.drop();")));
  expect(await databases(`^${name}$`)).toEqual([]);
});

test("a URL is pointed at another database", () => {
  expect(withDatabase("postgresql://u:p@%2Ftmp%2Fx:5432/one?sslmode=disable", "two")).toBe(
    "postgresql://u:p@%2Ftmp%2Fx:5432/two?sslmode=disable",
  );
  expect(databaseIn("postgresql://u:p@%2Ftmp%2Fx:5432/one?sslmode=disable")).toBe("one");
  expect(databaseIn("postgresql://u:p@host/one")).toBe("one");
  expect(withDatabase("postgresql://u:p@host/one", "two")).toBe("postgresql://u:p@host/two");
});
