import type { McpServer } from "@runyard/sdk/contract";
import type { AgentDefinition, StoredMcpServer } from "../core/saved-agent.ts";
import type { Database } from "./database.ts";
import type { RunSpec } from "./run-row.ts";
import type { SealedAs, Vault } from "./vault.ts";

/** A value belongs to this header of this server at this address: at another one it does not open. */
function headerAs(orgId: string, { name, url }: StoredMcpServer, header: string): SealedAs {
  return [orgId, "mcp-header", name, url ?? "", header];
}

/** Encrypts the values of headers that are not encrypted yet. */
export function sealHeaders(vault: Vault, orgId: string, servers: readonly StoredMcpServer[]): StoredMcpServer[] {
  return servers.map((server) => {
    const { headers, ...rest } = server;
    if (headers === undefined) return rest;
    const sealed = Object.entries(headers).map(([header, value]) => {
      if (typeof value !== "string") return [header, value] as const;
      const { keyId, bytes } = vault.seal(value, headerAs(orgId, server, header));
      return [header, { keyId, sealed: bytes.toString("base64") }] as const;
    });
    return { ...rest, headers: Object.fromEntries(sealed) };
  });
}

/** The servers with the values of their headers. Throws VaultError. */
export function openHeaders(vault: Vault, orgId: string, servers: readonly StoredMcpServer[]): McpServer[] {
  return servers.map((server) => {
    const { headers, ...rest } = server;
    if (headers === undefined) return rest;
    const opened = Object.entries(headers).map(([header, value]) => {
      if (typeof value === "string") return [header, value] as const;
      const sealed = { keyId: value.keyId, bytes: Buffer.from(value.sealed, "base64") };
      return [header, vault.open(sealed, headerAs(orgId, server, header))] as const;
    });
    return { ...rest, headers: Object.fromEntries(opened) };
  });
}

/** Encrypts what earlier versions stored as it is; safe to repeat, and for several servers at once. Resolves with how many were changed. */
export async function sealPlainHeaders(db: Database, vault: Vault): Promise<number> {
  let changed = 0;
  for (const { org_id: orgId } of await db.query<{ org_id: string }>("select org_id from runyard.with_plain_headers()")) {
    await db.inOrganization(orgId, async (tx) => {
      const agents = await tx.query<{ id: string; definition: AgentDefinition }>(
        "select id, definition from runyard.agents where org_id = runyard.current_org() and plain_headers for update",
      );
      for (const { id, definition } of agents) {
        const sealed = { ...definition, mcpServers: sealHeaders(vault, orgId, definition.mcpServers) };
        await tx.query("update runyard.agents set definition = $2, plain_headers = false where id = $1", [id, JSON.stringify(sealed)]);
      }
      const runs = await tx.query<{ id: string; spec: RunSpec }>(
        "select id, spec from runyard.runs where org_id = runyard.current_org() and plain_headers for update",
      );
      for (const { id, spec } of runs) {
        const sealed = { ...spec, ...(spec.mcpServers && { mcpServers: sealHeaders(vault, orgId, spec.mcpServers) }) };
        await tx.query("update runyard.runs set spec = $2, plain_headers = false where id = $1", [id, JSON.stringify(sealed)]);
      }
      changed += agents.length + runs.length;
    });
  }
  return changed;
}
