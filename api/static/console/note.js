// @ts-check
// Keys, signed notes and the checkpoints in them (C2SP signed-note, tlog-checkpoint, tlog-cosignature).
import { Malformed, big, decode64, hex, joined, utf8 } from "./bytes.js";
import { sha256 } from "./tree.js";

/** @typedef {"verified" | "tampered" | "unverifiable"} Outcome */
/** @typedef {"receipt" | "event" | "path" | "signature" | "key" | "witness"} Part */
/** @typedef {{name: string, kind: number, bytes: Uint8Array, id: string}} Key */
/** @typedef {{name: string, id: string, value: Uint8Array}} Signature */
/** @typedef {{key: Key, time: bigint}} Cosignature */
/** @typedef {{text: string, verified: Key[], signatures: Signature[]}} Note */
/** @typedef {{origin: string, size: bigint, root: Uint8Array}} Checkpoint */
/** @typedef {{checkpoint: Checkpoint, cosigned: Cosignature[]}} Head */

const LOG = 1;
const WITNESS = 4;
const MOST_SIGNATURES = 100;

class BadSignature extends Error {
  /** @param {Key} key */
  constructor(key) {
    super(`the signature by ${key.name} (${key.id}) does not fit the text`);
    this.key = key;
  }
}

export class Unfit extends Error {
  /** @param {Outcome} outcome @param {Part} part @param {string} reason */
  constructor(outcome, part, reason) {
    super(reason);
    this.outcome = outcome;
    this.part = part;
  }
}

/** @param {string} name */
const isName = (name) => name !== "" && !name.includes("+") && !/[\p{White_Space}\u001c-\u001f]/u.test(name);

/** @param {string} text @returns {Promise<Key>} */
export const parseKey = async (text) => {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(text.trim());
  if (!match) throw new Malformed("not a verifier key: it should look like name+1a2b3c4d+base64");
  const [, name, id, encoded] = match;
  const material = decode64(encoded);
  if (material.length !== 33 || ![LOG, WITNESS].includes(material[0]) || !isName(name)) {
    throw new Malformed("not a verifier key for Ed25519");
  }
  const found = hex((await sha256(joined(utf8.encode(`${name}\n`), material))).subarray(0, 4));
  if (found !== id) throw new Malformed("the verifier key contradicts its own id, so it was changed or copied wrongly");
  return { name, kind: material[0], bytes: material.subarray(1), id };
};

/** Whether a key is a witness's, and no log's. @param {Key} key */
export const isWitness = ({ kind }) => kind === WITNESS;

/** The keys of a text, one a line. @param {string} text */
export const parseKeys = (text) => Promise.all(text.split(/\s+/).filter(Boolean).map(parseKey));

/** @param {string} line @returns {Signature} */
const parseSignature = (line) => {
  const [dash, name = "", ...rest] = line.split(" ");
  if (dash !== "\u2014" || !isName(name)) throw new Malformed("not a signed note: a signature line is not one");
  const value = decode64(rest.join(" "));
  if (value.length < 5) throw new Malformed("not a signed note: a signature is too short");
  return { name, id: hex(value.subarray(0, 4)), value: value.subarray(4) };
};

/** @param {Key} key @param {string} text @param {Uint8Array} value */
const fits = async (key, text, value) => {
  let message = text;
  if (key.kind === WITNESS) {
    message = `cosignature/v1\ntime ${big(value.subarray(0, 8))}\n${text}`;
    value = value.subarray(8);
  }
  try {
    const imported = await crypto.subtle.importKey("raw", /** @type {BufferSource} */ (key.bytes), "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", imported, /** @type {BufferSource} */ (value), utf8.encode(message));
  } catch (error) {
    // A browser without Ed25519 must not look like a signature that is wrong.
    if (error instanceof DOMException && error.name === "NotSupportedError") throw error;
    return false;
  }
};

/** @param {string} note @param {Key[]} keys @returns {Promise<Note>} */
export const openNote = async (note, keys) => {
  if (note.length > 1_000_000 || /[\0-\u0009\u000b-\u001f]/.test(note)) {
    throw new Malformed("not a signed note: too large, or with control characters");
  }
  const split = note.lastIndexOf("\n\n");
  if (split < 0 || !note.slice(split + 2).endsWith("\n")) {
    throw new Malformed("not a signed note: it has no signatures behind an empty line, or its last line is not ended");
  }
  const text = note.slice(0, split + 1);
  const signatures = note.slice(split + 2, -1).split("\n").map(parseSignature);
  if (signatures.length > MOST_SIGNATURES) throw new Malformed(`a note with more than ${MOST_SIGNATURES} signatures`);
  /** @type {Key[]} */
  const verified = [];
  for (const { name, id, value } of signatures) {
    // Of several signatures by one key the first counts, as in Go's sumdb/note.
    const key = keys.find((each) => each.name === name && each.id === id);
    if (!key || verified.includes(key)) continue;
    if (!(await fits(key, text, value))) throw new BadSignature(key);
    verified.push(key);
  }
  return { text, verified, signatures };
};

/** @param {string} text @returns {Checkpoint} */
export const parseCheckpoint = (text) => {
  const lines = text.replace(/\n$/, "").split("\n");
  if (lines.length < 3 || lines.includes("") || !text.endsWith("\n")) {
    throw new Malformed("not a checkpoint: it needs an origin, a size and a root, and no empty line");
  }
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(lines[1])) {
    throw new Malformed("not a checkpoint: its size is not a plain decimal number");
  }
  const root = decode64(lines[2]);
  if (root.length !== 32) throw new Malformed("not a checkpoint: its root is not the base64 of 32 bytes");
  return { origin: lines[0], size: BigInt(lines[1]), root };
};

/**
 * Opens a checkpoint; Unfit where it is not what a log with one of these keys would sign.
 * @param {string} note @param {Key[]} keys @param {Key[]} witnesses @param {string} what
 * @returns {Promise<Head>}
 */
export const openHead = async (note, keys, witnesses = [], what = "the checkpoint") => {
  /** @type {Note} */ let opened;
  /** @type {Checkpoint} */ let checkpoint;
  try {
    opened = await openNote(note, [...keys, ...witnesses]);
    checkpoint = parseCheckpoint(opened.text);
  } catch (error) {
    if (error instanceof Malformed) throw new Unfit("tampered", "signature", `${what} cannot be read: ${error.message}`);
    if (!(error instanceof BadSignature)) throw error;
    const part = keys.includes(error.key) ? "signature" : "witness";
    throw new Unfit("tampered", part, `${what} was changed after it was signed: ${error.message}`);
  }
  const known = keys.filter((key) => key.name === checkpoint.origin);
  if (known.length === 0) {
    const names = keys.map((key) => key.name).join(", ");
    throw new Unfit("unverifiable", "key", `${what} is of the log ${checkpoint.origin}, and the pinned key is of ${names}`);
  }
  if (!known.some((key) => opened.verified.includes(key))) {
    const signers = opened.signatures.map(({ name, id }) => `${name}+${id}`).join(", ");
    const pinned = known.map((key) => `${key.name}+${key.id}`).join(", ");
    const reason = `${what} is not signed by the pinned key ${pinned}, but by ${signers}`;
    throw new Unfit("tampered", (await hidden(opened, known)) ? "signature" : "key", reason);
  }
  const cosigned = witnesses
    .filter((key) => opened.verified.includes(key))
    .map((key) => {
      const signature = opened.signatures.find(({ name, id }) => name === key.name && id === key.id);
      return { key, time: big(/** @type {Signature} */ (signature).value.subarray(0, 8)) };
    });
  return { checkpoint, cosigned };
};

/** Whether one of these keys did sign, and the line that says so was changed. @param {Note} note @param {Key[]} keys */
const hidden = async ({ text, signatures }, keys) => {
  for (const key of keys) {
    for (const { value } of signatures) if (await fits(key, text, value)) return true;
  }
  return false;
};
