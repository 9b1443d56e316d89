// Looks for what must be nowhere.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import pg from "pg";

/** Tables of which a row holds a text. */
export async function rowsWith(connectionString: string, text: string): Promise<string[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>("select tablename as name from pg_tables where schemaname = 'runyard'");
    const found: string[] = [];
    for (const { name } of rows) {
      const sql = `select 1 from runyard.${name} t where to_jsonb(t)::text like '%' || $1 || '%' limit 1`;
      if ((await client.query(sql, [text])).rows.length > 0) found.push(name);
    }
    return found;
  } finally {
    await client.end();
  }
}

/** Files below a folder that hold a text. */
export function filesWith(dir: string, text: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => path.join(dir, name))
    .filter((file) => existsSync(file) && statSync(file).isFile() && readFileSync(file).includes(text));
}

/** Command lines of processes that hold a text. */
export function processesWith(text: string): string[] {
  const lines = readdirSync("/proc").flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) ? [readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
  return lines.filter((line) => line.includes(text));
}
