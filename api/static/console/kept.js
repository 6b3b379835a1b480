// @ts-check
// What this browser keeps of the log, so that whoever looks at the console is a witness of it: the verifier keys that a
// person pinned, and the newest checkpoint that it has seen. Each visit holds the log against that checkpoint.
import { Malformed, same } from "./bytes.js";
import { Unfit, isWitness, openHead, parseKeys } from "./note.js";
import { extended, text } from "./tiles.js";

/** @typedef {import("./note.js").Key} Key */
/** @typedef {import("./note.js").Head} Head */
/**
 * What came of a look: `none` there is no checkpoint yet; `unpinned` no key is pinned, `offered` is the server's own;
 * `fits`; `differs` the log is not what it was or was signed by somebody else; `unknown` nobody can tell.
 * @typedef {object} Look
 * @property {"none" | "unpinned" | "fits" | "differs" | "unknown"} state
 * @property {string} reason
 * @property {string} offered
 * @property {Key[]} keys
 * @property {Key[]} witnesses
 * @property {Head | null} head
 * @property {string} newest
 * @property {string} kept
 */

const KEYS = "grantlog-log-keys";
const CHECKPOINT = "grantlog-log-checkpoint";

/** Pins keys, the log's and its witnesses'; Malformed where there is none of a log. Forgets what was seen under others. @param {string} keys */
export const pin = async (keys) => {
  if ((await parseKeys(keys)).every(isWitness)) throw new Malformed("there is no log's verifier key among them");
  localStorage.setItem(KEYS, keys.trim());
  localStorage.removeItem(CHECKPOINT);
};

export const unpin = () => {
  localStorage.removeItem(KEYS);
  localStorage.removeItem(CHECKPOINT);
};

/** Looks at the log, and keeps the newest checkpoint if it fits what was kept. @returns {Promise<Look>} */
export const look = async () => {
  const pinned = localStorage.getItem(KEYS) ?? "";
  const kept = localStorage.getItem(CHECKPOINT) ?? "";
  /** @type {Look} */
  const found = { state: "unknown", reason: "", offered: "", keys: [], witnesses: [], head: null, newest: "", kept };
  try {
    found.newest = await text("checkpoint");
    if (pinned === "") {
      found.offered = (await text("vkey")).trim();
      found.keys = await parseKeys(found.offered);
      return { ...found, state: "unpinned" };
    }
    const every = await parseKeys(pinned);
    found.keys = every.filter((key) => !isWitness(key));
    found.witnesses = every.filter(isWitness);
    if (found.newest === "" && kept === "") return { ...found, state: "none" };
    found.head = await openHead(found.newest, found.keys, found.witnesses, "the newest checkpoint");
    const reason = kept === "" ? "" : await misfit(await openHead(kept, found.keys), found.head);
    if (reason) return { ...found, state: "differs", reason };
    localStorage.setItem(CHECKPOINT, found.newest);
    return { ...found, state: "fits" };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ...found, state: error instanceof Unfit ? "differs" : "unknown", reason };
  }
};

/** Why two heads are not of one log; empty where they are. @param {Head} old @param {Head} now */
const misfit = async ({ checkpoint: old }, { checkpoint: now }) => {
  if (old.origin !== now.origin) return "";
  if (old.size > now.size) {
    return `the log has shrunk: it had ${old.size} events when this browser looked last, and has ${now.size} now`;
  }
  if (await extended(old, now)) return "";
  return `the first ${old.size} events are not those that this browser saw`;
};

/** Why a receipt's head is not of the log whose newest head this is; empty where it is. @param {Head} one @param {Head} newest */
export const strayed = async (one, newest) => {
  const [old, now] = one.checkpoint.size <= newest.checkpoint.size ? [one, newest] : [newest, one];
  const alike = old.checkpoint.size === now.checkpoint.size ? same(old.checkpoint.root, now.checkpoint.root) : await extended(old.checkpoint, now.checkpoint);
  return alike ? "" : "the receipt is of another tree than the newest checkpoint";
};
