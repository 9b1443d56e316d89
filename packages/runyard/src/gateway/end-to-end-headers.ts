import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";

/** What is between a client and its proxy only (RFC 9110, 7.6.1), and what a proxy must not pass on. */
const HOP_BY_HOP = new Set(
  [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
  ].concat("upgrade"),
);

/** The headers of a message that a proxy passes on. */
export function endToEndHeaders(headers: IncomingMessage["headers"]): OutgoingHttpHeaders {
  const named = new Set(
    (headers.connection ?? "")
      .toLowerCase()
      .split(",")
      .map((name) => name.trim()),
  );
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name)));
}
