// @ts-check
// The page `verify.html`: reads what a person opens or pastes, and shows what `verify.js` says about it.
import { Malformed, encode64, hex } from "./bytes.js";
import { parseKeys } from "./note.js";
import { leafHash } from "./tree.js";
import { checkExport, checkReceipt, linesOf, parseReceipt, readEvent } from "./verify.js";

/** @typedef {import("./verify.js").Verdict} Verdict */

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);

/** The name of what is wrong, told before the reason. */
const PARTS = {
  event: "The event does not fit",
  path: "The path was changed",
  signature: "The signature does not fit",
  key: "This key did not sign it",
  witness: "The witnesses did not sign it",
  receipt: "There is no proof in it",
};

/** @param {string} name @param {string} [text] @param {string} [kind] */
const element = (name, text = "", kind = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = kind;
  return made;
};

/** @param {Verdict} verdict */
const stamp = ({ outcome, part, reason }) => {
  if (outcome === "verified") return element("p", `✓ Verified: ${reason}.`, "stamp green");
  // A key that contradicts itself, or is another log's, is as wrong as a signature.
  const kind = outcome === "tampered" || part === "key" ? "red" : "amber";
  const sign = kind === "red" ? "✕" : "▲";
  const made = element("p", `${sign} ${part ? PARTS[part] : "Not verified"}: ${reason}.`, `stamp ${kind}`);
  made.dataset.part = part ?? "";
  return made;
};

/** @param {bigint} seconds */
const moment = (seconds) => {
  const time = new Date(Number(seconds) * 1000);
  return Number.isNaN(time.valueOf()) ? `${seconds}` : time.toISOString();
};

/** @param {Verdict} verdict @param {[string, string][]} more */
const figures = ({ position, until, head }, more) => {
  const list = element("dl");
  /** @type {[string, string][]} */
  const rows = [];
  if (position !== null) rows.push(["position", until === null ? `${position}` : `somewhere from ${position} to ${until}`]);
  rows.push(...more);
  if (head !== null) {
    const { origin, size, root } = head.checkpoint;
    const cosigned = head.cosigned.map(({ key, time }) => `${key.name} at ${moment(time)}`);
    rows.push(["log", origin], ["size", `${size}`], ["root", encode64(root)], ["cosigned by", cosigned.join(", ") || "nobody that you named"]);
  }
  for (const [name, value] of rows) list.append(element("dt", name), element("dd", value));
  return list;
};

/** @typedef {{witnesses: import("./note.js").Key[], quorum: number, event: Uint8Array | null}} Demanded */

/** @param {Blob} file @param {import("./note.js").Key[]} keys @param {Demanded} demanded @returns {Promise<Node[]>} */
const judged = async (file, keys, demanded) => {
  if (!(await file.slice(0, 25).text()).startsWith("c2sp.org/tlog-proof@")) {
    const progress = (/** @type {number} */ records) => (at("progress").textContent = `${records} records …`);
    const verdict = await checkExport(linesOf(file), keys, { ...demanded, progress });
    return [stamp(verdict), figures(verdict, [])];
  }
  // Files that were edited on the way may end their lines otherwise, which changes nothing of what they say.
  const text = (await file.text()).replaceAll("\r\n", "\n");
  const verdict = await checkReceipt(text, keys, demanded);
  /** @type {[string, string][]} */
  const more = [];
  /** @type {Node[]} */
  const shown = [];
  if (verdict.part !== "receipt") {
    const receipt = parseReceipt(text);
    const bytes = demanded.event ?? receipt.event;
    if (bytes !== null) {
      more.push(["leaf", hex(await leafHash(bytes))], ["path", `${receipt.path.length} hashes`]);
      const event = readEvent(bytes);
      if (event !== null) shown.push(element("pre", JSON.stringify(event, null, 2)));
    }
  }
  return [stamp(verdict), figures(verdict, more), ...(verdict.outcome === "verified" ? shown : [])];
};

/** A stored event has no line end, though a file may. @param {File} file */
const eventOf = async (file) => {
  const bytes = new Uint8Array(await file.arrayBuffer());
  return bytes.at(-1) === 10 ? bytes.subarray(0, -1) : bytes;
};

const verify = async () => {
  /** @type {File[]} */
  const files = [...at("files").files];
  const pasted = at("pasted").value.trim();
  const opened = pasted ? [...files, new File([`${pasted}\n`], "pasted")] : files;
  /** @type {Node[]} */
  const results = [];
  try {
    const keys = await parseKeys(at("keys").value);
    const witnesses = await parseKeys(at("witnesses").value);
    const quorum = at("quorum").value === "" ? witnesses.length : Number(at("quorum").value);
    const event = at("event").files[0] ? await eventOf(at("event").files[0]) : null;
    if (opened.length === 0) results.push(element("p", "▲ Open a file, or paste a receipt.", "stamp amber"));
    for (const file of opened) {
      results.push(element("h2", file.name), ...(await judged(file, keys, { witnesses, quorum, event })));
    }
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    if (error instanceof Malformed) {
      const made = element("p", `✕ The key is none: ${said}.`, "stamp red");
      made.dataset.part = "key";
      results.push(made);
    } else {
      results.push(element("p", `▲ This browser cannot verify it: ${said}`, "stamp amber"));
    }
  }
  at("progress").textContent = "";
  at("results").replaceChildren(...results);
};

at("form").addEventListener("submit", (/** @type {Event} */ submitted) => {
  submitted.preventDefault();
  at("progress").textContent = "Verifying …";
  at("results").replaceChildren();
  void verify();
});
