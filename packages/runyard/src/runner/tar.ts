/** One entry of an archive. */
export interface TarEntry {
  /** From the top of the archive, with slashes, as the disk has it. */
  readonly path: Uint8Array;
  readonly type: "file" | "directory" | "link";
  /** Bytes of content that follow. */
  readonly size: number;
  readonly modifiedMs: number;
  readonly isExecutable: boolean;
  /** Of a link. */
  readonly target?: Uint8Array;
}

const BLOCK = 512;
const NAME_BYTES = 100;
const TYPE = { file: "0", directory: "5", link: "2", longName: "L", longTarget: "K" } as const;

/** What ends an archive. */
export const TAR_END = new Uint8Array(2 * BLOCK);

/** What stands before an entry's content, in the format of GNU tar: names are bytes, as long as they are. */
export function tarHeader(entry: TarEntry): Uint8Array {
  const path = entry.type === "directory" ? Buffer.concat([entry.path, Buffer.from("/")]) : Buffer.from(entry.path);
  const target = Buffer.from(entry.target ?? []);
  return Buffer.concat([
    ...(target.length > NAME_BYTES ? [longWord(TYPE.longTarget, target)] : []),
    ...(path.length > NAME_BYTES ? [longWord(TYPE.longName, path)] : []),
    header({ ...entry, type: TYPE[entry.type], path, target }),
  ]);
}

/** Zeros behind content of so many bytes, up to the next block. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}

function longWord(type: string, word: Buffer): Buffer {
  const content = Buffer.concat([word, Buffer.alloc(1)]);
  const none = { target: Buffer.alloc(0), modifiedMs: 0, isExecutable: false };
  return Buffer.concat([
    header({ ...none, type, path: Buffer.from("././@LongLink"), size: content.length }),
    content,
    tarPadding(content.length),
  ]);
}

interface Header extends Pick<TarEntry, "size" | "modifiedMs" | "isExecutable"> {
  readonly type: string;
  readonly path: Buffer;
  readonly target: Buffer;
}

function header({ type, path, target, size, modifiedMs, isExecutable }: Header): Buffer {
  const block = Buffer.alloc(BLOCK);
  const number = (value: number, at: number, length: number): void =>
    void block.write(
      Math.trunc(value)
        .toString(8)
        .padStart(length - 1, "0"),
      at,
      length - 1,
      "latin1",
    );
  path.copy(block, 0, 0, NAME_BYTES);
  number(isExecutable || type === TYPE.directory ? 0o755 : 0o644, 100, 8);
  number(0, 108, 8);
  number(0, 116, 8);
  number(type === TYPE.file || type === TYPE.longName || type === TYPE.longTarget ? size : 0, 124, 12);
  number(Math.min(Math.max(0, modifiedMs / 1000), 0o77777777777), 136, 12);
  block.write("        ", 148, "latin1");
  block.write(type, 156, "latin1");
  target.copy(block, 157, 0, NAME_BYTES);
  block.write("ustar  \0", 257, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
