import { resolveProfile } from "/work/main/packages/runyard/src/agents/profiles/profiles.ts";
import { sandboxDriver } from "/work/main/packages/runyard/src/sandbox/drivers.ts";
import { openLab } from "/work/main/packages/runyard/src/sandbox/testing/lab.ts";
import { startScriptedModel, type ModelScript } from "/work/main/packages/runyard/src/testing/scripted-model.ts";
import { runTurn } from "/work/main/packages/runyard/test/opencode/turn.ts";
const profile = resolveProfile("opencode", { RUNYARD_OPENCODE: "/work/main/test/agents" })!;
const lab = await openLab("fail");
const cases: [string, ModelScript][] = [
  ["500 always", [{ fail: 500, message: "boom" }]],
  ["429 retry-after 1 x2 then ok", [{ fail: 429, times: 2, retryAfterSeconds: 1, message: "slow", say: "fine" }]],
  ["403 always", [{ fail: 403, message: "no" }]],
  ["404 always", [{ fail: 404, message: "no model" }]],
  ["402 always", [{ fail: 402, message: "pay" }]],
  ["cut", [{ run: "true" }, { cut: "half a sentence of" }]],
];
for (const [name, script] of cases) {
  const m = await startScriptedModel(script);
  const t = Date.now();
  let times: number[] = [];
  const timer = setInterval(() => { while (times.length < m.requests.length) times.push(Date.now() - t); }, 50);
  let cancelAt = Date.now() + 45000;
  const r = await runTurn({ lab, driver: sandboxDriver("bwrap"), profile, modelUrl: m.url, prompt: "go", cancelWhen: () => Date.now() > cancelAt });
  clearInterval(timer);
  console.log("==", name, "ms", Date.now() - t, "requests", m.requests.length, times.join(","), JSON.stringify(r.state.outcome), r.events.filter(e => e.type === "message.completed" || e.type === "log" || e.type==="notice").map(e => JSON.stringify(e.data)).join("|").slice(0, 600));
  await m.close();
}
await lab.close();
