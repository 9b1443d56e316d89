import { describe, expect, it } from "vitest";
import { answerProblem, questionAnswer, type NewRequest } from "./conversation.ts";
import type { Json } from "./json.ts";
import { dataOf, playTurn, rpc } from "./testing/play.ts";

type Properties = { readonly [name: string]: Json };

function form(properties: Properties, required: readonly string[] = []): string {
  return rpc({
    id: 4,
    method: "elicitation/create",
    params: { mode: "form", sessionId: "s1", message: "Which colour?", requestedSchema: { type: "object", properties, required } },
  });
}

function asked(properties: Properties, required: readonly string[] = []): NewRequest {
  const [request] = playTurn([form(properties, required)]).requests;
  if (!request) throw new Error("nothing was asked");
  return JSON.parse(JSON.stringify(request)) as NewRequest;
}

function contentOf(request: NewRequest, answer: string): Json {
  return (JSON.parse(questionAnswer(request, answer).line) as { result: { content: Json } }).result.content;
}

describe("a question", () => {
  it("waits for a person", () => {
    const played = playTurn([form({ colour: { type: "string" } })]);
    expect(dataOf(played.events, "question.asked")).toEqual([{ questionId: "ask_1_1000", question: "Which colour?" }]);
    expect(played.requests).toMatchObject([
      { kind: "question", id: "ask_1_1000", offset: 1000, rpcId: 4, title: "Which colour?", toolKind: null },
    ]);
    expect(played.lines).toEqual([]);
  });

  it("shows the choices, and the names of several fields", () => {
    const title = asked({
      colour: { type: "string", title: "Colour", enum: ["red", "blue"] },
      size: { type: "string", oneOf: [{ const: "s", title: "Small" }] },
    }).title;
    expect(title).toBe("Which colour?\n- Colour (colour): red, blue\n- size (size): s (Small)");
  });

  it("that is no form is refused", () => {
    const played = playTurn([rpc({ id: 4, method: "elicitation/create", params: { mode: "url", message: "Go", url: "http://x" } })]);
    expect(played.requests).toEqual([]);
    expect(JSON.parse(played.lines[0] ?? "")).toMatchObject({ id: 4, error: { code: -32602 } });
  });

  it("without words or fields is a question still", () => {
    const played = playTurn([rpc({ id: 4, method: "elicitation/create", params: { mode: "form" } })]);
    expect(played.requests[0]?.title).toBe("The agent asks for an answer.");
    expect(JSON.parse(questionAnswer(played.requests[0] as NewRequest, "ok").line)).toEqual({
      jsonrpc: "2.0",
      id: 4,
      result: { action: "accept", content: {} },
    });
  });
});

describe("an answer", () => {
  it("is told as it was given", () => {
    expect(questionAnswer(asked({ c: { type: "string" } }), "red").event).toEqual({
      type: "question.answered",
      data: { questionId: "ask_1_1000", answer: "red", by: "person" },
    });
  });

  it.each<[string, Properties, readonly string[], string, Json]>([
    ["text", { c: { type: "string" } }, [], "deep red", { c: "deep red" }],
    ["a choice by its title", { c: { type: "string", oneOf: [{ const: "r", title: "Red" }] } }, [], " red ", { c: "r" }],
    ["a whole number", { n: { type: "integer" } }, [], "42", { n: 42 }],
    ["a number", { n: { type: "number" } }, [], "4.5", { n: 4.5 }],
    ["yes", { b: { type: "boolean" } }, [], "Yes", { b: true }],
    ["no", { b: { type: "boolean" } }, [], "n", { b: false }],
    ["several choices", { l: { type: "array", items: { type: "string", enum: ["a", "b", "c"] } } }, [], "A, c", { l: ["a", "c"] }],
    ["the required field of several", { note: { type: "string" }, c: { type: "string" } }, ["c"], "red", { c: "red" }],
    [
      "fields by name",
      { n: { type: "integer" }, l: { type: "array", items: { anyOf: [{ const: "x", title: "X" }] } } },
      [],
      '{"n":3,"l":["X"],"other":1}',
      { n: 3, l: ["x"] },
    ],
    ["a field of an unknown type", { q: { type: "colour" } }, [], "red", { q: "red" }],
    ["a field with the name of a prototype", { ["__proto__"]: { type: "string" } }, [], "x", JSON.parse('{"__proto__":"x"}') as Json],
  ])("is put into the form: %s", (_name, properties, required, answer, content) => {
    const request = asked(properties, required);
    expect(answerProblem(request, answer)).toBeNull();
    expect(JSON.stringify(contentOf(request, answer))).toBe(JSON.stringify(content));
  });

  it.each<[string, Properties, string, RegExp]>([
    ["not a number", { n: { type: "integer" } }, "many", /n must be of type integer/],
    ["a fraction", { n: { type: "integer" } }, "1.5", /integer/],
    ["blank", { n: { type: "number" } }, " ", /number/],
    ["neither yes nor no", { b: { type: "boolean" } }, "maybe", /boolean/],
    ["no choice", { c: { type: "string", title: "Colour", enum: ["red"] } }, "blue", /Colour must be one of: red\./],
    ["no choice of a list", { l: { type: "array", items: { enum: ["a"] } } }, "a,z", /must be one of: a\./],
  ])("that does not fit is explained, and sent as it is if somebody insists: %s", (_name, properties, answer, problem) => {
    const request = asked(properties);
    expect(answerProblem(request, answer)).toMatch(problem);
    expect(contentOf(request, answer)).toEqual({ [Object.keys(properties)[0] as string]: answer });
  });
});
