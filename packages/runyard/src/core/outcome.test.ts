import { describe, expect, it } from "vitest";
import { judgeTurn, type TurnFacts, type TurnVerdict } from "./outcome.ts";

const GOOD: TurnFacts = {
  stopReason: "end_turn",
  error: null,
  sawOutput: true,
  handedIn: false,
  gateway: { calls: 3, failed: 0, lastError: null },
  renewLogin: null,
  exit: null,
  oomKills: 0,
  overdueMs: null,
  stderrTail: "",
};

function judge(facts: Partial<TurnFacts>): TurnVerdict {
  return judgeTurn({ ...GOOD, ...facts });
}

function failedCalls(status: number | null, message: string, calls = 2): Partial<TurnFacts> {
  return { gateway: { calls, failed: calls, lastError: { status, message } } };
}

describe("a turn that succeeds", () => {
  it.each<[string, Partial<TurnFacts>]>([
    ["output and model calls", {}],
    ["output without a gateway", { gateway: null }],
    ["output without a model call, as a custom program may have it", { gateway: { calls: 0, failed: 0, lastError: null } }],
    ["a model call that succeeded, though the agent showed nothing of it", { sawOutput: false }],
    ["calls that failed before others succeeded", { gateway: { calls: 3, failed: 2, lastError: { status: 503, message: "busy" } } }],
    ["an agent that has already exited", { exit: { code: 0 } }],
    ["a child process that was killed for memory, which the agent survived", { oomKills: 1 }],
    ["noise on stderr", { stderrTail: "warning: ENOSPC" }],
    ["a plan that was handed in, and that nobody took at once", { stopReason: "cancelled", handedIn: true }],
  ])("%s", (_name, facts) => {
    expect(judge(facts)).toEqual({ ok: true });
  });
});

describe("a turn that fails", () => {
  it.each<[string, Partial<TurnFacts>, string, RegExp]>([
    ["no output, no model", { sawOutput: false, gateway: null }, "agent-error", /without any output/],
    [
      "no session in time",
      { stopReason: null, sawOutput: false, overdueMs: 300_000, stderrTail: "waiting for a license" },
      "agent-error",
      /no session within 300 s.*RUNYARD_AGENT_START_TIMEOUT.*last words were: waiting for a license/,
    ],
    ["no output, no call", { sawOutput: false, gateway: { calls: 0, failed: 0, lastError: null } }, "agent-error", /without any output/],
    [
      "a login of the agent's own that is not accepted",
      { ...failedCalls(401, "token expired"), renewLogin: "codex login" },
      "agent-error",
      /answered 401.*own login.*token expired\..*renew it on the server's machine \(codex login\)/,
    ],
    ["401 that the agent printed as text", failedCalls(401, "bad key"), "agent-error", /answered 401.*API key.*bad key\..*Check the key/],
    ["403", failedCalls(403, "not yours!"), "agent-error", /answered 403.*API key.*not yours! Check/],
    ["404", failedCalls(404, "no model x"), "agent-error", /404.*model.*not found.*no model x/],
    ["429", failedCalls(429, "slow down"), "rate-limit", /429.*too many.*slow down/],
    ["500", failedCalls(500, "oops"), "network-error", /answered 500: oops\.$/],
    ["200 and then nonsense", failedCalls(200, "no event"), "network-error", /answer could not be used: no event\.$/],
    ["529", failedCalls(529, "overloaded"), "network-error", /529/],
    ["408", failedCalls(408, "too slow"), "network-error", /408/],
    ["400", failedCalls(400, "bad schema"), "agent-error", /400.*refused the request.*bad schema/],
    ["no connection", failedCalls(null, "ECONNREFUSED"), "network-error", /could not be reached: ECONNREFUSED\./],
    ["a provider without a word", failedCalls(500, "  "), "network-error", /it gave no reason\./],
    [
      "failed calls without a recorded reason",
      { gateway: { calls: 1, failed: 1, lastError: null } },
      "network-error",
      /no reason was recorded/,
    ],
    ["refusal", { stopReason: "refusal" }, "agent-error", /refused/],
    ["max_tokens", { stopReason: "max_tokens" }, "agent-error", /output tokens/],
    ["max_turn_requests", { stopReason: "max_turn_requests" }, "agent-error", /model calls in one turn/],
    ["cancelled by itself", { stopReason: "cancelled" }, "agent-error", /by itself/],
    ["refusal behind a plan", { stopReason: "refusal", handedIn: true }, "agent-error", /refused/],
    [
      "a plan of a model that never answered",
      { stopReason: "cancelled", handedIn: true, ...failedCalls(500, "oops") },
      "network-error",
      /500/,
    ],
    ["a stop reason of tomorrow", { stopReason: "tired" }, "agent-error", /does not know: tired\./],
    ["the agent's own error", { stopReason: null, error: "model blew up" }, "agent-error", /^The agent failed: model blew up$/],
    [
      "the agent's error beside a failed call",
      { stopReason: null, error: "gave up", gateway: { calls: 5, failed: 1, lastError: { status: 429, message: "slow" } } },
      "rate-limit",
      /429.*The agent said: gave up/,
    ],
    [
      "the agent's error, all calls failed",
      { stopReason: null, error: "gave up", ...failedCalls(503, "down") },
      "network-error",
      /503.*The agent said: gave up/,
    ],
    ["the agent's error, no gateway", { stopReason: null, error: "gave up", gateway: null }, "agent-error", /gave up/],
    ["the agent's error after a memory kill", { stopReason: null, error: "child died", oomKills: 1 }, "out-of-memory", /memory/],
    ["killed for memory", { stopReason: null, exit: { code: 137 }, oomKills: 1 }, "out-of-memory", /memory/],
    [
      "exit with a code",
      { stopReason: null, exit: { code: 3 }, stderrTail: "boom\n" },
      "agent-error",
      /exited with code 3 before its turn was over\. Its last words were: boom$/,
    ],
    ["exit without a word", { stopReason: null, exit: { code: 0 } }, "agent-error", /exited with code 0 before its turn was over\.$/],
    ["exit with an unknown code", { stopReason: null, exit: { code: null } }, "agent-error", /The agent ended before its turn was over\.$/],
    ["silence while the process lives", { stopReason: null, exit: null }, "agent-error", /without a word/],
    [
      "exit after nothing but failed calls",
      { stopReason: null, exit: { code: 1 }, ...failedCalls(503, "down") },
      "network-error",
      /503: down\. The agent exited with code 1/,
    ],
    ["127", { stopReason: null, exit: { code: 127 } }, "agent-error", /program was not found/],
    [
      "bwrap's own way of 127",
      { stopReason: null, exit: { code: 1 }, stderrTail: "bwrap: execvp nothere: No such file or directory" },
      "agent-error",
      /program was not found.*nothere/,
    ],
    ["126", { stopReason: null, exit: { code: 126 } }, "agent-error", /not executable/],
    ["a full disk", { stopReason: null, exit: { code: 1 }, stderrTail: "ENOSPC: write" }, "disk-full", /disk is full/],
    ["no gateway and no output", { sawOutput: false, gateway: null, exit: { code: 0 } }, "agent-error", /without any output/],
  ])("%s", (_name, facts, type, message) => {
    const verdict = judge(facts);
    expect(verdict).toMatchObject({ ok: false, error: { type } });
    expect(verdict.ok ? "" : verdict.error.message).toMatch(message);
  });

  it("quotes long words in part: the start of a message, the end of stderr", () => {
    const long = `START${"x".repeat(2_000)}END`;
    const said = judge({ stopReason: null, error: long });
    const exited = judge({ stopReason: null, exit: { code: 1 }, stderrTail: long });
    expect(said.ok ? "" : said.error.message).toMatch(/START(?!.*END).* …$/);
    expect(exited.ok ? "" : exited.error.message).toMatch(/: … (?!.*START).*END$/);
  });
});
