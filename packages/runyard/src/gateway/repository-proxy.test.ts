import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { openRepositoryProxy } from "./repository-proxy.ts";

test("whoever was refused, and stays all the same, does not keep the proxy from its end", async () => {
  const proxy = await openRepositoryProxy({ allowed: [] });
  const way = proxy.admit({ protocol: "https", host: "git.example", port: 443, maxBytes: 1_000 });
  const client = connect({ host: "127.0.0.1", port: way.port, allowHalfOpen: true });
  client.write("CONNECT git.example:443 HTTP/1.1\r\nhost: git.example:443\r\n\r\n");
  expect(String((await once(client, "data"))[0])).toMatch(/^HTTP\/1\.1 407 /);
  client.on("error", () => undefined);
  await proxy.close();
  client.destroy();
});
