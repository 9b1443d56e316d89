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

/** How a request tells the length of its body. */
export function bodyOf({ headers }: IncomingMessage): "none" | "length" | "chunked" {
  if (headers["transfer-encoding"] !== undefined) return "chunked";
  return headers["content-length"] === undefined || headers["content-length"] === "0" ? "none" : "length";
}

/**
 * The headers of a request that a proxy passes on, with the frame of its body whatever its method, and whatever was said to be for
 * the proxy alone: else a body would go out without an end, and what is in it as a request of its own.
 */
export function framedHeaders(request: IncomingMessage): OutgoingHttpHeaders {
  const body = bodyOf(request);
  return {
    ...endToEndHeaders(request.headers),
    ...(body === "chunked" && { "transfer-encoding": "chunked" }),
    ...(body === "length" && { "content-length": request.headers["content-length"] }),
    ...(body === "none" && !/^(?:GET|HEAD|OPTIONS|DELETE)$/.test(request.method ?? "") && { "content-length": "0" }),
  };
}
