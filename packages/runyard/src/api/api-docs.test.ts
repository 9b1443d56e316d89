import { readFileSync } from "node:fs";
import {
  API_ERRORS,
  changeOrganizationSchema,
  changeRepositorySchema,
  organizationSchema,
  repositorySchema,
  type Route,
  ROUTES,
} from "@runyard/sdk/contract";
import { expect, test } from "vitest";

// docs/api.md says what the code does.
const text = readFileSync(new URL("../../../../docs/api.md", import.meta.url), "utf8");

/** The rows of the table that has this head. */
function rowsBelow(head: string): string[] {
  const lines = text.split("\n");
  const start = lines.indexOf(head);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  return start === -1 ? [] : lines.slice(start + 2, end);
}

test("every route is in the table of routes, as the route table has it", () => {
  const rows = Object.values<Route>(ROUTES).map(({ method, path, policy, summary }) => {
    const scope = policy === "public" ? "public" : `\`${policy.scope}\``;
    return `| \`${method} ${path}\` | ${scope} | ${summary} |`;
  });
  expect(rowsBelow("| Route | Scope | |")).toEqual(rows);
});

test("every error is in the table of errors, as the registry has it", () => {
  const rows = Object.entries(API_ERRORS).map(
    ([code, { status, retryable, title }]) => `| \`${code}\` | ${status} | ${retryable ? "yes" : "no"} | ${title} |`,
  );
  expect(rowsBelow("| Code | Status | Try again | |")).toEqual(rows);
});

test("the section on settings has every field of a repository and of an organization", () => {
  const [, section = ""] = /^## Settings\n([\s\S]*?)^## /m.exec(text) ?? [];
  const fields = [repositorySchema, organizationSchema, changeRepositorySchema, changeOrganizationSchema].flatMap(({ shape }) =>
    Object.keys(shape),
  );
  expect(fields.filter((field) => !new RegExp(`\\b${field}\\b`).test(section))).toEqual([]);
});
