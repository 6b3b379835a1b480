// @ts-check
// The badge on an event's page: holds the receipt against the key that this person pinned, and the log against what this
// browser saw of it before.
import { encode64, hex } from "./bytes.js";
import { leafHash, sha256 } from "./tree.js";
import { checkReceipt, parseReceipt } from "./verify.js";
import { look, pin, strayed, unpin } from "./kept.js";

/** @typedef {import("./kept.js").Look} Look */
/** @typedef {import("./verify.js").Verdict} Verdict */

const place = /** @type {HTMLElement} */ (document.querySelector("[data-verify]"));

/** @param {string} name @param {string} [text] @param {string} [kind] */
const element = (name, text = "", kind = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = kind;
  return made;
};

/** @param {string} text @param {() => unknown} work */
const button = (text, work) => {
  const made = /** @type {HTMLButtonElement} */ (element("button", text, "button small"));
  made.type = "button";
  made.addEventListener("click", work);
  return made;
};

/** A line of the chain that can be opened. @param {string} mark @param {string} name @param {string} value */
const step = (mark, name, value) => {
  const line = element("details", "", "step");
  line.append(element("summary", `${mark} ${name}`), element("p", value, "figures"));
  const item = element("li");
  item.append(line);
  return item;
};

/** @param {import("./note.js").Head | null} head */
const witnessed = (head) =>
  (head?.cosigned ?? []).map(({ key, time }) => `${key.name} at ${new Date(Number(time) * 1000).toISOString()}`).join(", ") || "pin a witness's key beside the log's, and its signature is checked too";

/** @param {Verdict} verdict @param {string} text @param {Look} seen */
const chain = async (verdict, text, seen) => {
  const receipt = parseReceipt(text);
  const steps = element("ol", "", "chain");
  const broken = ["event", "path", "signature", "key"].indexOf(verdict.part ?? "");
  const mark = (/** @type {number} */ at) => (broken < 0 || at < broken ? "✓" : at === broken ? "✕" : "·");
  const head = verdict.head;
  const keys = seen.keys.map((key) => `${key.name}+${key.id}`).join(", ");
  steps.append(
    step(mark(0), "Event", receipt.event ? `${receipt.event.length} bytes, leaf ${hex(await leafHash(receipt.event))}` : "not in the receipt"),
    step(mark(1), `Path of ${receipt.path.length} hashes`, receipt.path.map(encode64).join(" ") || "the event is the whole tree"),
    step(mark(2), head ? `Root over ${head.checkpoint.size} events` : "Root", head ? encode64(head.checkpoint.root) : verdict.reason),
    step(mark(3), "Signature", `by ${keys}`),
    step(head?.cosigned.length ? "✓" : "·", `${head?.cosigned.length ?? 0} of ${seen.witnesses.length} witnesses that you pinned`, witnessed(head)),
    step(seen.state === "fits" ? "✓" : "·", "The log that this browser saw before", seen.reason || "it begins with the checkpoint that was kept at the last visit"),
  );
  return steps;
};

/** The alarm over the whole page, with what was found to take away. @param {string} reason @param {string} text @param {Look} seen */
const alarm = (reason, text, seen) => {
  const found = { at: new Date().toISOString(), reason, receipt: text, newest: seen.newest, kept: seen.kept, keys: seen.keys.map(({ name, id }) => `${name}+${id}`) };
  const link = /** @type {HTMLAnchorElement} */ (element("a", "Save the evidence"));
  link.href = URL.createObjectURL(new Blob([JSON.stringify(found, null, 2)], { type: "application/json" }));
  link.download = "grantlog-evidence.json";
  const band = element("div", "", "misfit");
  band.setAttribute("role", "alert");
  band.append(element("strong", `✕ Does not fit: ${reason}.`), " ", link);
  document.querySelector(".misfit")?.remove();
  document.body.prepend(band);
};

/** Where somebody pins the key. @param {Look} seen */
const pinning = async (seen) => {
  const form = /** @type {HTMLFormElement} */ (element("form", "", "pinning"));
  const label = element("label", "The log's key (and witnesses'), as you got it by other means");
  const input = /** @type {HTMLInputElement} */ (element("input", "", "figures"));
  const fault = element("p", "", "note alarm");
  const offered = hex(await sha256(new TextEncoder().encode(seen.offered)));
  input.id = "verifier-key";
  input.placeholder = seen.offered;
  input.autocomplete = "off";
  fault.setAttribute("role", "alert");
  label.setAttribute("for", input.id);
  const submit = element("button", "Pin", "button small");
  form.append(label, input, submit, element("p", `This server names ${seen.offered}, fingerprint ${offered.replace(/(.{8})(?=.)/g, "$1 ")}`, "quiet"), fault);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await pin(input.value);
      await show();
    } catch (error) {
      fault.textContent = error instanceof Error ? error.message : String(error);
    }
  });
  return form;
};

/** @param {string} kind @param {string} words @param {(Node | string)[]} more */
const badge = (kind, words, ...more) => {
  const said = element("p", words, `badge ${kind}`);
  said.setAttribute("role", "status");
  place.replaceChildren(said, ...more);
  place.dataset.state = kind;
};

const show = async () => {
  const text = document.querySelector("[data-receipt]")?.textContent ?? "";
  const seen = await look();
  if (seen.state === "differs") {
    alarm(seen.reason, text, seen);
    badge("differs", `✕ Does not fit: ${seen.reason}.`, button("Pin another key", again));
    return;
  }
  if (place.hasAttribute("data-log")) {
    await ofLog(seen);
    return;
  }
  if (text === "") {
    // The page itself says why there is no receipt.
    place.dataset.state = place.dataset.unproved ?? "";
    return;
  }
  const verdict = await checkReceipt(text, seen.keys, { witnesses: seen.witnesses });
  const stray = verdict.head && seen.head ? await strayed(verdict.head, seen.head) : "";
  const steps = verdict.part === "receipt" ? "" : await chain(verdict, text, seen);
  if (verdict.outcome !== "verified" || stray) {
    alarm(stray || verdict.reason, text, seen);
    badge("differs", `✕ Does not fit: ${stray || verdict.reason}.`, steps, button("Pin another key", again));
  } else if (seen.state === "unpinned") {
    badge("unpinned", "▲ It fits the key that this server names. You have pinned none.", steps, await pinning(seen));
  } else if (seen.state === "fits") {
    badge("verified", "✓ Verified here, by the key that you pinned.", steps, button("Forget the key", again));
  } else {
    badge("unknown", `▲ The receipt fits; whether the log does could not be seen: ${seen.reason}`, steps);
  }
};

/** The badge on the page of the log itself. @param {Look} seen */
const ofLog = async (seen) => {
  if (seen.state === "unpinned") badge("unpinned", "▲ You have pinned no key.", await pinning(seen));
  else if (seen.state === "fits") badge("verified", "✓ Signed by the key that you pinned, and the log that this browser saw before.", button("Forget the key", again));
  else badge("unknown", `▲ That could not be seen: ${seen.reason}`);
};

const again = async () => {
  unpin();
  document.querySelector(".misfit")?.remove();
  await show();
};

// On paper the receipt is written out.
addEventListener("beforeprint", () => document.querySelector("[data-receipt]")?.closest("details")?.setAttribute("open", ""));

void show().catch((error) => badge("unknown", `▲ This browser cannot verify it: ${error.message}`));
