import { totalmem } from "node:os";

/** Memory that this machine has, or that the container around the server lets it use, in bytes. */
export function hostMemoryBytes(): number {
  const total = totalmem();
  const constrained = process.constrainedMemory?.() ?? 0;
  // Where nothing is constrained some kernels say 0, and some a number beyond all memory.
  return constrained > 0 && constrained < total ? constrained : total;
}
