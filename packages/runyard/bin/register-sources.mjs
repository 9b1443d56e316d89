// Lets plain Node run this workspace from its TypeScript sources: tsx compiles them, and a resolve
// hook makes `@runyard/sdk` mean its sources too (tsx alone does not add an export condition).
import { register } from "node:module";

export async function registerSources() {
  register("./source-condition.mjs", import.meta.url);
  const { register: registerTsx } = await import("tsx/esm/api");
  registerTsx();
}
