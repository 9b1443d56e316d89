import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../api/testing/door.ts";
import { serve, type Served } from "../api/testing/served.ts";
import { describeQueue, placeInLine, watchQueue } from "./queue.ts";

let served: Served;
beforeAll(async () => {
  served = await serve();
});
afterAll(() => served?.close());

test("places read as people say them", () => {
  const said = [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 101, 111, 1_112].map(placeInLine);
  expect(said.map((text) => text.replace(" in line", ""))).toEqual([
    "next",
    "2nd",
    "3rd",
    "4th",
    "11th",
    "12th",
    "13th",
    "21st",
    "22nd",
    "23rd",
    "101st",
    "111th",
    "1,112th",
  ]);
  const at = (queuePosition: number) => ({ queuePosition, queueReason: "order" as const });
  expect(describeQueue(at(3), 10)).toBe("queued, 3rd in line; 10 runs are at work");
  expect(describeQueue({ queuePosition: 1, queueReason: "memory" })).toBe("queued, next in line, waits for the memory of its sandbox");
  expect(describeQueue(at(1), 1)).toBe("queued, next in line; 1 run is at work");
  expect(describeQueue(at(1))).toBe("queued, next in line");
  expect(describeQueue({ queuePosition: 2, queueReason: "daily-cap" })).toBe("queued, 2nd in line, waits for the organization's daily cap");
});

test("a place is told as it changes, and then that there is none", async () => {
  const { client } = served;
  const create = () => client.runs.create({ task: "x", repositoryUrl: "/r" });
  const [first, second, third] = [await create(), await create(), await create()];
  const told: (string | null)[] = [];
  const watch = watchQueue(client, third.id, (text) => void told.push(text));
  await until(() => told.includes("queued, 3rd in line"));
  const claimed = await served.claim(first.id);
  await until(() => told.includes("queued, 2nd in line; 1 run is at work"));
  await client.runs.cancel(second.id);
  await until(() => told.includes("queued, next in line; 1 run is at work"));
  await client.runs.cancel(third.id);
  await until(() => told.includes(null));
  watch.close();
  expect(told.filter((text) => text === null)).toHaveLength(1);
  expect(told.at(-1)).toBeNull();
  await served.complete(claimed);
});
