// @ts-check
// What every page of the console does with script: keys, and that a sign-out in one tab is one in all of them.

const channel = new BroadcastChannel("grantlog-console");

channel.addEventListener("message", (event) => {
  // What was on the screen belongs to somebody who has left.
  if (event.data === "signed-out") location.replace("/console/");
});

/** Whether somebody is typing. @param {EventTarget | null} target */
function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** Goes to the row before or after the one that has the focus. @param {number} step */
function row(step) {
  const links = [...document.querySelectorAll(".row .at")];
  // Whoever reads beside the list goes on from what they read.
  const at = links.find((link) => link === document.activeElement) ?? document.querySelector(".row[aria-current] .at");
  const next = links[Math.min(links.length - 1, Math.max(0, (at ? links.indexOf(at) : -1) + step))];
  if (next instanceof HTMLElement) next.focus();
}

/** Follows the page's link of that kind, or else of the other. @param {string} selector @param {string} other */
function go(selector, other) {
  const link = document.querySelector(selector) ?? document.querySelector(other);
  if (link instanceof HTMLElement) link.click();
}

/** What single keys do, unless somebody switched them off (WCAG 2.2 §2.1.4). @type {Record<string, () => void>} */
const KEYS = {
  "/": () => document.getElementById("find")?.focus(),
  j: () => row(1),
  k: () => row(-1),
  o: () => document.dispatchEvent(new Event("console:beside")),
  "[": () => go("a[data-key='[']", "a[rel=prev], a[rel=first]"),
  "]": () => go("a[data-key=']']", "a[rel=next]"),
  e: () => /** @type {HTMLElement | null} */ (document.querySelector("[data-export]"))?.focus(),
  p: () => print(),
  "?": () => {
    const menu = /** @type {HTMLDetailsElement | null} */ (document.querySelector(".me"));
    if (menu) menu.open = !menu.open;
  },
};

document.addEventListener("keydown", (event) => {
  const find = document.getElementById("find");
  if (event.key === "k" && (event.ctrlKey || event.metaKey) && find) {
    event.preventDefault();
    find.focus();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.documentElement.dataset.keys === "off") return;
  const act = KEYS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

// What a part of the page asked for later stands in the foot too.
document.addEventListener("console:asked", () => {
  const count = document.querySelectorAll(".foot .asked > li").length;
  const said = document.getElementById("questions");
  if (said) said.textContent = `${count} ${count === 1 ? "question" : "questions"}`;
  document.querySelector(".foot details > p")?.setAttribute("hidden", "");
});

// UTC is what the server writes; where somebody points, it says what the clock on the wall said.
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.getAttribute("datetime") ?? "");
  if (!Number.isNaN(at.valueOf())) time.setAttribute("title", at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" }));
}
