// @ts-check
// Checks receipts and exports of a log where they are looked at, by RFC 6962 and C2SP signed-note, tlog-checkpoint,
// tlog-cosignature and tlog-proof. It asks nobody anything. Its verdicts are those of `verifier/`, word for word, which is
// written apart from it; `part` says beside them which link of the chain does not hold.

/** @typedef {"verified" | "tampered" | "unverifiable"} Outcome */
/** @typedef {"receipt" | "event" | "path" | "signature" | "key" | "witness"} Part */
/** @typedef {{name: string, kind: number, bytes: Uint8Array, id: string}} Key */
/** @typedef {{name: string, id: string, value: Uint8Array}} Signature */
/** @typedef {{key: Key, time: bigint}} Cosignature */
/** @typedef {{text: string, verified: Key[], signatures: Signature[]}} Note */
/** @typedef {{origin: string, size: bigint, root: Uint8Array}} Checkpoint */
/** @typedef {{checkpoint: Checkpoint, cosigned: Cosignature[]}} Head */
/** @typedef {{index: bigint, path: Uint8Array[], note: string, event: Uint8Array | null}} Receipt */
/**
 * @typedef {object} Verdict
 * @property {Outcome} outcome
 * @property {string} reason
 * @property {Part | null} part
 * @property {bigint | null} position
 * @property {bigint | null} until
 * @property {Head | null} head
 * @property {number} checked
 */

const LOG = 1;
const WITNESS = 4;
const MOST_SIGNATURES = 100;
const HEADER = "c2sp.org/tlog-proof@v1";

export class Malformed extends Error {}

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

// Bytes.

const utf8 = new TextEncoder();

/** @param {Uint8Array} bytes */
export const hex = (bytes) => Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");

/** @param {Uint8Array} bytes */
export const encode64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
};

/** @param {string} text */
export const decode64 = (text) => {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) throw new Malformed("not base64");
  const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  if (encode64(bytes) !== text) throw new Malformed("not canonical base64");
  return bytes;
};

/** @param {(Uint8Array | number[])[]} parts */
const joined = (...parts) => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

/** @param {Uint8Array} one @param {Uint8Array} other */
export const same = (one, other) => one.length === other.length && one.every((each, at) => each === other[at]);

/** @param {Uint8Array} bytes */
const big = (bytes) => bytes.reduce((sum, each) => (sum << 8n) | BigInt(each), 0n);

// Trees (RFC 6962 §2.1, RFC 9162 §2.1).

/** @param {Uint8Array} bytes */
export const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {BufferSource} */ (bytes)));

/** @param {Uint8Array} event */
export const leafHash = (event) => sha256(joined([0], event));

/** @param {Uint8Array} left @param {Uint8Array} right */
export const nodeHash = (left, right) => sha256(joined([1], left, right));

/** @typedef {{hash: Uint8Array, position: bigint, last: bigint}} Step */

/** One step up a path; null where the tree has no more. @param {Step} step @param {Uint8Array} sibling */
const up = async ({ hash, position, last }, sibling) => {
  if (last === 0n) return null;
  if (position & 1n || position === last) {
    hash = await nodeHash(sibling, hash);
    while (!(position & 1n) && position) [position, last] = [position >> 1n, last >> 1n];
  } else {
    hash = await nodeHash(hash, sibling);
  }
  return { hash, position: position >> 1n, last: last >> 1n };
};

/**
 * The way from a leaf's hash to the root, both included; null where the path is too short or too long for the tree.
 * @param {Uint8Array} leaf @param {bigint} index @param {bigint} size @param {Uint8Array[]} path
 */
const climb = async (leaf, index, size, path) => {
  if (index < 0n || index >= size) return null;
  /** @type {Step[]} */
  const steps = [{ hash: leaf, position: index, last: size - 1n }];
  for (const sibling of path) {
    const step = await up(steps[steps.length - 1], sibling);
    if (step === null) return null;
    steps.push(step);
  }
  return steps[path.length].last === 0n ? steps : null;
};

/**
 * Which hash of a path that leads elsewhere would lead to the root with one bit set right, of the hash or of its base64;
 * null if none would. So a path that was changed on its way is told from an event that is not in the tree.
 * @param {Step[]} steps @param {Uint8Array[]} path @param {Uint8Array} root
 */
const damaged = async (steps, path, root) => {
  for (let at = 0; at < path.length; at++) {
    const tried = await Promise.all(
      neighbours(path[at]).map(async (near) => {
        let step = await up(steps[at], near);
        for (const sibling of path.slice(at + 1)) step = step && (await up(step, sibling));
        return step !== null && same(step.hash, root);
      }),
    );
    if (tried.includes(true)) return at;
  }
  return null;
};

/** The hashes that are one bit away, and those whose base64 is. @param {Uint8Array} hash */
const neighbours = (hash) => {
  const found = Array.from({ length: 256 }, (_, bit) => {
    const near = hash.slice();
    near[bit >> 3] ^= 1 << (bit & 7);
    return near;
  });
  const text = encode64(hash);
  for (let at = 0; at < text.length; at++) {
    for (let bit = 0; bit < 7; bit++) {
      const changed = String.fromCharCode(text.charCodeAt(at) ^ (1 << bit));
      try {
        found.push(decode64(text.slice(0, at) + changed + text.slice(at + 1)));
      } catch {
        // No base64.
      }
    }
  }
  return found.filter((each) => each.length === hash.length);
};

/**
 * Whether the old tree is the beginning of the new one (RFC 9162 §2.1.4.2).
 * @param {Checkpoint} old @param {Checkpoint} now @param {Uint8Array[]} proof
 */
export const consistent = async (old, now, proof) => {
  if (old.size > now.size) return false;
  if (old.size === 0n || old.size === now.size) return proof.length === 0 && (old.size === 0n || same(old.root, now.root));
  const nodes = old.size & (old.size - 1n) ? [...proof] : [old.root, ...proof];
  if (nodes.length === 0) return false;
  let position = old.size - 1n;
  let last = now.size - 1n;
  while (position & 1n) [position, last] = [position >> 1n, last >> 1n];
  let smaller = nodes[0];
  let larger = nodes[0];
  for (const node of nodes.slice(1)) {
    if (last === 0n) return false;
    if (position & 1n || position === last) {
      smaller = await nodeHash(node, smaller);
      larger = await nodeHash(node, larger);
      while (!(position & 1n) && position) [position, last] = [position >> 1n, last >> 1n];
    } else {
      larger = await nodeHash(larger, node);
    }
    [position, last] = [position >> 1n, last >> 1n];
  }
  return last === 0n && same(smaller, old.root) && same(larger, now.root);
};

/** What must be kept of a tree to go on adding to it: the roots of its perfect subtrees, one a bit of its size. */
export class CompactRange {
  constructor() {
    this.size = 0n;
    /** @type {Uint8Array[]} */
    this.roots = [];
  }

  /** @param {Uint8Array} root @param {bigint} height */
  async add(root, height = 0n) {
    for (let bit = 1n << height; this.size & bit; bit <<= 1n) {
      root = await nodeHash(/** @type {Uint8Array} */ (this.roots.pop()), root);
    }
    this.roots.push(root);
    this.size += 1n << height;
  }

  async root() {
    if (this.roots.length === 0) return sha256(new Uint8Array());
    let root = this.roots[this.roots.length - 1];
    for (const other of this.roots.slice(0, -1).reverse()) root = await nodeHash(other, root);
    return root;
  }
}

// Keys and signed notes.

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

// Events, and the order that they keep among themselves.

/** Follows events of a log of which some may be left out, and tells what is wrong with one. */
class Order {
  constructor() {
    /** @type {Map<string, number>} */
    this.versions = new Map();
    this.time = "";
  }

  /** @param {bigint} position @param {Uint8Array} event @returns {string | null} */
  fault(position, event) {
    const form = readEvent(event);
    if (form === null) return "what is stored there is not an event";
    if (BigInt(form.position) !== position) return `the event there says that it belongs to position ${form.position}`;
    const before = this.versions.get(form.stream) ?? 0;
    if (form.version <= before) {
      return `its stream ${form.stream} had ${before} events before it, and it says that it is number ${form.version}`;
    }
    this.versions.set(form.stream, form.version);
    if (form.time !== this.time) {
      if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(form.time)) return "its time is not written as times are";
      if (form.time < this.time) {
        return `its time ${form.time} lies before that of the event in front of it, ${this.time}`;
      }
      this.time = form.time;
    }
    return null;
  }
}

const HALF_A_PAIR = /\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]/;

/** @param {Uint8Array} bytes @returns {any} */
const readObject = (bytes) => {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const found = JSON.parse(text);
    // Half of a surrogate pair is no character.
    const whole = !HALF_A_PAIR.test(text.replaceAll("\\\\", ""));
    return whole && typeof found === "object" && !Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
};

/** The event in its stored form; null where bytes are none. @param {Uint8Array} bytes @returns {any} */
export const readEvent = (bytes) => {
  const form = readObject(bytes);
  const numbers = [form?.position, form?.version].every(Number.isSafeInteger);
  const texts = [form?.id, form?.type, form?.stream, form?.time].every((each) => typeof each === "string");
  return numbers && texts ? form : null;
};

// Receipts.

/** @param {string} text @returns {Receipt} */
export const parseReceipt = (text) => {
  const end = text.indexOf("\n\n");
  const lines = (end < 0 ? text : text.slice(0, end)).split("\n");
  if (lines.shift() !== HEADER || end < 0) {
    throw new Malformed(`not a receipt: it should begin with ${HEADER} and have a checkpoint behind an empty line`);
  }
  const event = lines[0]?.startsWith("extra ") ? decode64(/** @type {string} */ (lines.shift()).slice(6)) : null;
  const index = /^index (0|[1-9][0-9]{0,18})$/.exec(lines.shift() ?? "");
  if (!index) throw new Malformed("not a receipt: it names no index");
  const path = lines.map(decode64);
  if (path.some((hash) => hash.length !== 32)) throw new Malformed("not a receipt: a hash has not 32 bytes");
  return { index: BigInt(index[1]), path, note: text.slice(end + 2), event };
};

/** @param {Outcome} outcome @param {string} reason @param {Partial<Verdict>} told @returns {Verdict} */
const verdict = (outcome, reason, told = {}) => ({
  ...{ outcome, reason, part: null, position: null, until: null, head: null, checked: 0 },
  ...told,
});

/** @param {unknown} error @returns {Verdict} */
const ofUnfit = (error) => {
  if (!(error instanceof Unfit)) throw error;
  return verdict(error.outcome, error.message, { part: error.part });
};

/**
 * Checks a receipt against pinned keys. The event is `event`, or else what the receipt carries along, which is not signed
 * by itself: it counts only because its hash is proved to stand in the tree.
 * @param {string} text @param {Key[]} keys
 * @param {{event?: Uint8Array | null, witnesses?: Key[], quorum?: number}} [demanded]
 * @returns {Promise<Verdict>}
 */
export const checkReceipt = async (text, keys, { event = null, witnesses = [], quorum = 0 } = {}) => {
  /** @type {Receipt} */ let receipt;
  /** @type {Head} */ let head;
  try {
    receipt = parseReceipt(text);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return verdict("unverifiable", error.message, { part: "receipt" });
  }
  const bytes = event ?? receipt.event;
  if (bytes === null) {
    const reason = "the receipt does not carry the event, and none was given beside it";
    return verdict("unverifiable", reason, { part: "event" });
  }
  try {
    head = await openHead(receipt.note, keys, witnesses, "the receipt's checkpoint");
  } catch (error) {
    return ofUnfit(error);
  }
  const { size, root } = head.checkpoint;
  const position = receipt.index + 1n;
  const leaf = await leafHash(bytes);
  const steps = await climb(leaf, receipt.index, size, receipt.path);
  if (steps === null || !same(steps[receipt.path.length].hash, root)) {
    const at = steps && (await damaged(steps, receipt.path, root));
    const told = at === null ? WRONG_EVENT : `hash ${at + 1} of the receipt's path was changed: with one bit set right everything fits`;
    return verdict("tampered", told, { part: at === null ? "event" : "path", position, head });
  }
  const fault = new Order().fault(position, bytes);
  if (fault !== null) return verdict("tampered", fault, { part: "event", position, head });
  if (head.cosigned.length < quorum) {
    const few = `only ${head.cosigned.length} of the ${quorum} demanded witnesses cosigned its checkpoint`;
    return verdict("unverifiable", `the event is in the log, but ${few}`, { part: "witness", position, head, checked: 1 });
  }
  return verdict("verified", `the event stands in the log at position ${position}`, { position, head, checked: 1 });
};

const WRONG_EVENT = "the event is not the one that the log's checkpoint covers at that position";

// Exports with a proof: stored events, line by line, the roots of what was left out between them, and a checkpoint.

const NO_PROOF = "it carries no proof: it was made without proof=1, or it was cut off";

/** @param {Uint8Array} line @param {string} start */
const begins = (line, start) => same(line.subarray(0, start.length), utf8.encode(start));

/** @param {Uint8Array} line */
const isTrailer = (line) => begins(line, '{"checkpoint":');

class Export {
  constructor() {
    this.order = new Order();
    this.tree = new CompactRange();
    this.records = 0;
    this.leftOut = 0n;
    this.between = 0n;
    this.first = 0n;
    this.last = 0n;
    /** @type {string | null} */
    this.note = null;
  }

  /** Takes in one line; why it does not fit, and where. @param {Uint8Array} line @returns {Promise<[bigint, string] | null>} */
  async line(line) {
    const position = this.tree.size + 1n;
    if (this.note !== null) return [position, "something stands behind the checkpoint, where the export ends"];
    if (begins(line, '{"gap":')) return this.skip(readObject(line)?.gap, position);
    if (isTrailer(line)) {
      const note = readObject(line)?.checkpoint;
      if (typeof note !== "string") return [position, UNREADABLE];
      this.note = note;
      return null;
    }
    const fault = this.order.fault(position, line);
    if (fault !== null) return [position, fault];
    await this.tree.add(await leafHash(line));
    this.records += 1;
    [this.leftOut, this.between] = [this.leftOut + this.between, 0n];
    [this.first, this.last] = [this.first || position, position];
    return null;
  }

  /** @param {any} gap @param {bigint} position @returns {Promise<[bigint, string] | null>} */
  async skip(gap, position) {
    const sound = [gap?.from, gap?.to].every(Number.isSafeInteger) && Array.isArray(gap.hashes);
    if (!sound || gap.hashes.some((/** @type {unknown} */ each) => typeof each !== "string")) return [position, UNREADABLE];
    const [from, to] = [BigInt(gap.from), BigInt(gap.to)];
    if (from !== position || to < from) return [position, `the proof goes on at position ${from} instead`];
    if (this.records) this.between += to + 1n - from;
    /** @type {string[]} */
    const hashes = [...gap.hashes];
    while (this.tree.size < to) {
      const start = this.tree.size;
      let height = BigInt((to - start).toString(2).length - 1);
      if (start) {
        const most = BigInt((start & -start).toString(2).length - 1);
        if (most < height) height = most;
      }
      const hash = this.hash(hashes.shift());
      if (hash === null) return [this.tree.size + 1n, UNREADABLE];
      if (hash.length !== 32) return [start + 1n, "the proof lacks a hash for what was left out"];
      await this.tree.add(hash, height);
    }
    return hashes.length ? [to + 1n, "the proof has too many hashes"] : null;
  }

  /** @param {string | undefined} text */
  hash(text) {
    try {
      return decode64(text ?? "");
    } catch {
      return null;
    }
  }

  get praise() {
    if (!this.records) return "the export has no records, and its proof fits";
    const left = this.leftOut ? `; ${this.leftOut} events between them were left out` : " without a gap";
    return `all ${this.records} records are in the log, positions ${this.first} to ${this.last}${left}`;
  }
}

const UNREADABLE = "a line of the proof cannot be read";

/** The lines of a file, without their ends, in constant memory. @param {Blob} file */
export async function* linesOf(file) {
  let rest = new Uint8Array();
  const reader = file.stream().getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    let whole = joined(rest, part.value);
    for (let end = whole.indexOf(10); end >= 0; end = whole.indexOf(10)) {
      yield whole.subarray(0, end);
      whole = whole.subarray(end + 1);
    }
    rest = whole;
  }
  if (rest.length) yield rest;
}

/**
 * Checks an export that was made with a proof, line by line.
 * @param {AsyncIterable<Uint8Array>} lines @param {Key[]} keys
 * @param {{witnesses?: Key[], quorum?: number, progress?: (records: number) => void}} [demanded]
 * @returns {Promise<Verdict>}
 */
export const checkExport = async (lines, keys, { witnesses = [], quorum = 0, progress = () => {} } = {}) => {
  const found = new Export();
  /** @type {[bigint, string] | null} */
  let fault = null;
  let proven = false;
  for await (const line of lines) {
    // Behind a fault it is only asked whether there is a checkpoint: what nobody signed is no forgery.
    if (fault === null) fault = await found.line(line);
    else proven ||= isTrailer(line);
    if (found.records % 4096 === 0) progress(found.records);
  }
  if (found.note === null && !proven) return verdict("unverifiable", NO_PROOF, { part: "receipt" });
  if (fault !== null) {
    return verdict("tampered", fault[1], { part: "event", position: fault[0], checked: found.records });
  }
  /** @type {Head} */ let head;
  try {
    head = await openHead(/** @type {string} */ (found.note), keys, witnesses, "the export's checkpoint");
  } catch (error) {
    return ofUnfit(error);
  }
  return concluded(found, head, quorum);
};

/** @param {Export} found @param {Head} head @param {number} quorum @returns {Promise<Verdict>} */
const concluded = async (found, head, quorum) => {
  const { size, root } = head.checkpoint;
  const checked = found.records;
  if (found.tree.size !== size) {
    const reason = `the export covers ${found.tree.size} positions, and its checkpoint ${size}`;
    const position = (found.tree.size < size ? found.tree.size : size) + 1n;
    return verdict("tampered", reason, { part: "event", position, head, checked });
  }
  if (!same(await found.tree.root(), root)) {
    const [position, until] = [found.first || 1n, found.last > (found.first || 1n) ? found.last : null];
    return verdict("tampered", "these records are not those of the log", { part: "event", position, until, head, checked });
  }
  if (head.cosigned.length < quorum) {
    const few = `only ${head.cosigned.length} of the ${quorum} demanded witnesses have cosigned the export's checkpoint`;
    return verdict("unverifiable", few, { part: "witness", head, checked });
  }
  return verdict("verified", found.praise, { head, checked });
};
