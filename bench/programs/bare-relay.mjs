// The least that stands between a client and a model provider (the port given) and keeps what went through, in the file given.
// Says its port on stdout.
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { createServer, request } from "node:http";

const [port, file = ""] = process.argv.slice(2);

/**
 * @param {import("node:http").IncomingMessage} answer
 * @param {import("node:http").ServerResponse} response
 */
async function pass(answer, response) {
  response.writeHead(answer.statusCode ?? 502, { "content-type": answer.headers["content-type"] });
  const record = createWriteStream(file);
  for await (const chunk of answer) {
    const isTaken = [response.write(chunk), record.write(chunk)];
    await Promise.all([response, record].filter((_, index) => !isTaken[index]).map((stream) => once(stream, "drain")));
  }
  response.end();
  record.end();
}

const server = createServer((asked, response) => {
  const { method, url: path, headers } = asked;
  const call = request({ host: "127.0.0.1", port, method, path, headers }, (answer) => void pass(answer, response));
  asked.pipe(call);
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${/** @type {import("node:net").AddressInfo} */ (server.address()).port}\n`));
