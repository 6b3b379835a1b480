// @ts-check
// On the page of the log: fetches a stretch with its proof and checks it here, by the keys that this person pinned.
import { checkExport, linesOf } from "./verify.js";
import { look } from "./kept.js";

const form = /** @type {HTMLFormElement | null} */ (document.querySelector("[data-check]"));
const said = /** @type {HTMLElement | null} */ (document.querySelector("[data-checked]"));

/** @param {string} kind @param {string} words */
const say = (kind, words) => {
  if (!said) return;
  said.hidden = false;
  said.className = `badge ${kind}`;
  said.textContent = words;
};

const check = async () => {
  if (!form) return;
  const { keys, state } = await look();
  const asked = new URLSearchParams({ from: new FormData(form).get("from")?.toString() ?? "1" });
  const answer = await fetch(`${form.action}?${asked}`);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const progress = (/** @type {number} */ records) => say("unverified", `· ${records} events …`);
  const verdict = await checkExport(linesOf(await answer.blob()), keys, { progress });
  if (verdict.outcome !== "verified") say("differs", `✕ Does not fit: ${verdict.reason}.`);
  else if (state === "unpinned") say("unpinned", `▲ By the key that this server names: ${verdict.reason}.`);
  else say("verified", `✓ Verified here: ${verdict.reason}.`);
};

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  say("unverified", "· Checking …");
  void check().catch((error) => say("unknown", `▲ It could not be checked: ${error.message}`));
});
