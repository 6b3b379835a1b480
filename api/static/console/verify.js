// @ts-check
// Checks receipts and exports of a log where they are looked at, by RFC 6962 and C2SP signed-note, tlog-checkpoint,
// tlog-cosignature and tlog-proof. It asks nobody anything. Its verdicts are those of `verifier/`, word for word, which is
// written apart from it; `part` says beside them which link of the chain does not hold.
import { Malformed, decode64, joined, same, utf8 } from "./bytes.js";
import { Unfit, openHead } from "./note.js";
import { CompactRange, climb, damaged, leafHash } from "./tree.js";

/** @typedef {import("./note.js").Outcome} Outcome */
/** @typedef {import("./note.js").Part} Part */
/** @typedef {import("./note.js").Key} Key */
/** @typedef {import("./note.js").Head} Head */
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

const HEADER = "c2sp.org/tlog-proof@v1";

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

/** Without a carriage return, which a file that went by mail may have got: no line has one inside. @param {Uint8Array} line */
const bare = (line) => (line.at(-1) === 13 ? line.subarray(0, -1) : line);

/** The lines of a file, without their ends and a byte order mark, in constant memory. @param {Blob} given */
export async function* linesOf(given) {
  const mark = new Uint8Array(await given.slice(0, 3).arrayBuffer());
  const file = same(mark, new Uint8Array([0xef, 0xbb, 0xbf])) ? given.slice(3) : given;
  let rest = new Uint8Array();
  const reader = file.stream().getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    let whole = joined(rest, part.value);
    for (let end = whole.indexOf(10); end >= 0; end = whole.indexOf(10)) {
      yield bare(whole.subarray(0, end));
      whole = whole.subarray(end + 1);
    }
    rest = whole;
  }
  if (rest.length) yield bare(rest);
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
