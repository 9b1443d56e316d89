import { html } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ApiContext } from "./context.ts";

/** What pages of the server may load: its own files, and nothing else. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** A small page of words. */
export interface Page {
  readonly title: string;
  readonly lines: readonly string[];
  /** A command to copy. */
  readonly code?: string;
  /** A path of this server to go on to at once. */
  readonly goTo?: string;
}

export function page(c: ApiContext, content: Page, status: ContentfulStatusCode = 200): Response | Promise<Response> {
  const { title, lines, code, goTo } = content;
  const refresh = goTo === undefined ? "" : html`<meta http-equiv="refresh" content="0;url=${goTo}" />`;
  const body = html`<h1>${title}</h1>
    ${lines.map((line) => html`<p>${line}</p>`)} ${code === undefined ? "" : html`<pre>${code}</pre>`}
    ${goTo === undefined ? "" : html`<p><a href="${goTo}">Go on</a></p>`}`;
  return answerPage(c, { title, head: refresh, body }, status);
}

/** A whole HTML document under the policy for pages. */
export function answerPage(
  c: ApiContext,
  parts: { readonly title: string; readonly head: Fragment; readonly body: Fragment },
  status: ContentfulStatusCode = 200,
): Response | Promise<Response> {
  c.header("Content-Security-Policy", PAGE_POLICY);
  return c.html(
    html`<!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width" />
          <meta name="color-scheme" content="light dark" />
          <link rel="icon" href="data:," />
          <title>${parts.title} · Runyard</title>
          ${parts.head}
        </head>
        <body>
          ${parts.body}
        </body>
      </html>`,
    status,
  );
}

type Fragment = HtmlEscapedString | Promise<HtmlEscapedString> | "";
