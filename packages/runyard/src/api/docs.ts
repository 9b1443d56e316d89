import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { RunyardError } from "@runyard/sdk/contract";
import { html } from "hono/html";
import type { ApiContext, ApiHandler } from "./context.ts";
import { type Credentials, identify } from "./identify.ts";
import { openApiDocument } from "./openapi.ts";
import { answerPage, page, type Page } from "./page.ts";

type DocsRoute = "docs" | "docsFile" | "openapi";

const SIGN_IN: Page = {
  title: "Sign in to read this",
  lines: ["Run this on the machine that Runyard is on. It opens a link that signs this browser in:"],
  code: "runyard open",
};

/** What starts Swagger UI on the page; a file of its own, so that the page needs no inline script. */
const START = `SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  // Nothing is fetched from elsewhere, and nothing is sent there.
  validatorUrl: null,
  queryConfigEnabled: false,
});
`;

const FILES: Readonly<Record<string, { readonly type: string; readonly read: () => Promise<Uint8Array | string> }>> = {
  "start.js": { type: "text/javascript; charset=utf-8", read: async () => START },
  "swagger-ui-bundle.js": { type: "text/javascript; charset=utf-8", read: () => readFile(swaggerFile("swagger-ui-bundle.js")) },
  "swagger-ui.css": { type: "text/css; charset=utf-8", read: () => readFile(swaggerFile("swagger-ui.css")) },
};

/** The API's reference in the browser, and the document that it is made from. */
export function docsHandlers(options: { readonly credentials: Credentials; readonly version: string }): Record<DocsRoute, ApiHandler> {
  return {
    docs: async (c) => ((await isSignedIn(c, options.credentials)) ? referencePage(c) : page(c, SIGN_IN, 401)),
    docsFile: async (c) => {
      const file = c.req.param("file") ?? "";
      const found = Object.hasOwn(FILES, file) ? FILES[file] : undefined;
      if (found === undefined) throw new RunyardError("not_found", "The reference has no such file.");
      return c.body((await found.read()) as Uint8Array<ArrayBuffer> | string, 200, { "Content-Type": found.type });
    },
    openapi: (c) => c.json(openApiDocument({ version: options.version, url: new URL(c.req.url).origin })),
  };
}

async function isSignedIn(c: ApiContext, credentials: Credentials): Promise<boolean> {
  try {
    return (await identify(c, credentials)).principal.scopes.includes("agent:read");
  } catch (error) {
    if (RunyardError.is(error) && (error.code === "unauthorized" || error.code === "foreign_origin")) return false;
    throw error;
  }
}

function referencePage(c: ApiContext): Response | Promise<Response> {
  const head = html`<link rel="stylesheet" href="/docs/swagger-ui.css" />
    <script src="/docs/swagger-ui-bundle.js" defer></script>
    <script src="/docs/start.js" defer></script>`;
  return answerPage(c, { title: "API", head, body: html`<div id="reference"></div>` });
}

const require = createRequire(import.meta.url);

/** The build puts Swagger UI beside this file; in a clone it is where npm put it. */
function swaggerFile(name: string): string {
  const beside = fileURLToPath(new URL("./swagger-ui/", import.meta.url));
  const dir = existsSync(beside) ? beside : path.dirname(require.resolve("swagger-ui-dist/package.json"));
  return path.join(dir, name);
}
