// A model provider that streams as many events as it is asked for (`max_tokens`): as fast as they are taken, or in the pace of a model
// (`pace`: milliseconds to the first, and events in a second from then on). Says its port on stdout.
import { createServer } from "node:http";
import { setTimeout as wait } from "node:timers/promises";

/** @param {object} choice */
const event = (choice) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [choice] })}\n\n`;
const PIECE = event({ index: 0, delta: { content: "some words of an answer " }, finish_reason: null });
const END = `${event({ index: 0, delta: {}, finish_reason: "stop" })}data: [DONE]\n\n`;
/** Events in one write: a provider's come one by one, but not so fast. */
const JOINED = 16;

const server = createServer((request, response) => {
  /** @type {Buffer[]} */
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => void answer());
  const answer = async () => {
    const { max_tokens: count, pace } = JSON.parse(Buffer.concat(chunks).toString());
    if (pace !== undefined) {
      await wait(pace.firstAfterMs);
      response.writeHead(200, { "content-type": "text/event-stream" });
      const begunAt = performance.now();
      for (let sent = 0; sent < count; sent++) {
        await wait(begunAt + (sent * 1000) / pace.perSecond - performance.now());
        response.write(PIECE);
      }
      response.end(END);
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let sent = 0; sent < count; sent += JOINED) {
      if (!response.write(PIECE.repeat(Math.min(JOINED, count - sent)))) await new Promise((resolve) => response.once("drain", resolve));
    }
    response.end(END);
  };
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${/** @type {import("node:net").AddressInfo} */ (server.address()).port}\n`));
