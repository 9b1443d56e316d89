// A container that somebody's command line has started and waits for (cli/attach.ts): it goes with that.
import { Socket } from "node:net";
import { askEngine, type ContainerRef } from "./docker-engine.ts";

/** The descriptor by which the command line is told that this program is there, and this program that it still is. */
const HANDSHAKE = 7;

/** Waits until the command line is ready. Rejects where it has gone; `onGone`: it went later. */
export function meetCommandLine(onGone: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const line = new Socket({ fd: HANDSHAKE, readable: true, writable: true });
    line.once("data", () => {
      resolve();
      line.removeAllListeners("close").on("close", onGone).resume();
    });
    line.on("error", () => undefined).on("close", () => reject(new Error("whoever asked for it has gone")));
    line.write("ready\n");
  });
}

/** Ctrl-C and Ctrl-\ of a terminal that is not the container's own are for what is in it. */
export function passInterrupts(container: ContainerRef): void {
  for (const signal of ["SIGINT", "SIGQUIT"] as const)
    process.on(signal, () => {
      askEngine(container, { method: "POST", path: `/containers/${container.name}/kill?signal=${signal}` }).catch(() => undefined);
    });
}
