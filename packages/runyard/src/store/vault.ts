import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";

const ALGORITHM = "aes-256-gcm";
export const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** An encrypted text, and which key it was encrypted with. */
export interface Sealed {
  readonly keyId: string;
  /** Initialization vector, tag, ciphertext. */
  readonly bytes: Buffer;
}

/**
 * What a text is and whose: authenticated with it, so that one that was put into another's place does not open. The
 * organization comes first.
 */
export type SealedAs = readonly [orgId: string, ...words: string[]];

/** Encrypts what must not stand in the database as it is. */
export interface Vault {
  /** Names the key, and tells nothing of it. */
  readonly keyId: string;
  seal(text: string, as: SealedAs): Sealed;
  /** Throws WrongKeyError, and VaultError where it was changed, or is another's. */
  open(sealed: Sealed, as: SealedAs): string;
}

/** Something does not open; its message says what to do. */
export class VaultError extends Error {
  override readonly name: string = "VaultError";
}

/** It was encrypted with another key than this server has. */
export class WrongKeyError extends VaultError {
  override readonly name = "WrongKeyError";
  readonly keyId: string;
  constructor(keyId: string, ownKeyId: string) {
    super(
      `it was encrypted with the key ${keyId}, and this server has the key ${ownKeyId}: start it with that key (RUNYARD_SECRETS_KEY, RUNYARD_SECRETS_KEY_FILE or secrets-key in its home), or store the value again`,
    );
    this.keyId = keyId;
  }
}

/** A vault with this key of 32 bytes. */
export function createVault(key: Buffer): Vault {
  if (key.length !== KEY_BYTES) throw new Error(`A key has ${KEY_BYTES} bytes`);
  const keyId = createHash("sha256").update("runyard secrets key\0").update(key).digest("hex").slice(0, 16);
  return {
    keyId,
    seal(text, as) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES }).setAAD(associated(as));
      const ciphertext = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
      return { keyId, bytes: Buffer.concat([iv, cipher.getAuthTag(), ciphertext]) };
    },
    open(sealed, as) {
      if (sealed.keyId !== keyId) throw new WrongKeyError(sealed.keyId, keyId);
      const { bytes } = sealed;
      try {
        const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
        decipher.setAAD(associated(as)).setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
        return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]).toString("utf8");
      } catch (cause) {
        throw new VaultError("what is stored was changed, or belongs to something else: store the value again", { cause });
      }
    },
  };
}

function associated(as: SealedAs): Buffer {
  return Buffer.from(JSON.stringify(["runyard", 1, ...as]));
}
