/** A program that speaks MCP on its standard streams, for a repository; its one tool, `tell`, tells what it was started with. */
export const STDIO_MCP_SERVER = `
import { createInterface } from "node:readline";
const say = (id, result) => console.log(JSON.stringify({ jsonrpc: "2.0", id, result }));
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize") say(id, { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "local", version: "1" } });
  if (method === "tools/list") say(id, { tools: [{ name: "tell", description: "Tells", inputSchema: { type: "object", properties: {} } }] });
  if (method === "tools/call") say(id, { content: [{ type: "text", text: "given: " + process.env.GIVEN }] });
});
`;
