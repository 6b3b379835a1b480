// @ts-check
// Shows an event beside the list: by `o`, by the ▸ of its row, and by a click on its number while there is one beside.
// Each is a question of its own, which the log tells of, so nothing is asked for before somebody wants to see it. And
// whoever comes back from an event finds the list as they left it.

const beside = document.getElementById("beside");
const WIDE = matchMedia("(min-width: 100rem)");
const EMPTY = "▸ or o shows an event here.";

/** The link of the row in which something is. @param {Element | null} inside */
const linkOf = (inside) => /** @type {HTMLAnchorElement | null} */ (inside?.closest(".row")?.querySelector(".at") ?? null);

/** A page of this server as a document whose scripts do not run. @param {string} url @returns {Promise<Document | null>} */
const page = (url) =>
  new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.addEventListener("loadend", () => done(request.status === 200 ? request.responseXML : null));
    request.send();
  });

/** Adds to the foot what was asked for. @param {Document} answer */
const tell = (answer) => {
  document.querySelector(".foot .asked")?.append(...answer.querySelectorAll(".asked > li"));
  document.dispatchEvent(new Event("console:asked"));
};

if (beside) {
  /** @type {HTMLAnchorElement | null} */ let shown = null;
  let asked = 0;

  const button = document.createElement("button");
  button.type = "button";
  button.className = "button small close";
  button.textContent = "Close";

  const settle = () => {
    beside.hidden = !shown && !WIDE.matches;
    if (!shown) {
      const hint = document.createElement("p");
      hint.className = "quiet";
      hint.textContent = EMPTY;
      beside.replaceChildren(hint);
    }
  };

  const close = () => {
    if (!shown) return;
    const back = shown;
    back.closest(".row")?.removeAttribute("aria-current");
    shown = null;
    asked += 1;
    settle();
    back.focus();
  };

  /** @param {HTMLAnchorElement} link */
  const show = async (link) => {
    const mine = (asked += 1);
    const personal = new URLSearchParams(location.search).has("show") ? "?show=1" : "";
    const answer = await page(`${link.pathname}/beside${personal}`);
    const article = answer?.querySelector("article");
    // Signed out, or refused: the event's own page says so.
    if (!answer || !article) return location.assign(link.href);
    // Asked for is asked for, also if somebody went on meanwhile.
    tell(answer);
    if (mine !== asked) return;
    shown?.closest(".row")?.removeAttribute("aria-current");
    shown = link;
    link.closest(".row")?.setAttribute("aria-current", "true");
    const heading = document.createElement("h2");
    heading.tabIndex = -1;
    heading.append(...(article.querySelector("h1")?.childNodes ?? []));
    article.querySelector("h1")?.replaceWith(heading);
    for (const each of article.querySelectorAll("section > h2")) {
      const lower = document.createElement("h3");
      lower.id = each.id;
      lower.append(...each.childNodes);
      each.replaceWith(lower);
    }
    beside.replaceChildren(button, article);
    settle();
    heading.focus();
  };

  for (const link of document.querySelectorAll(".row .at")) {
    const open = document.createElement("button");
    open.type = "button";
    open.className = "open";
    open.textContent = "▸";
    // Keyboards have `o` for it.
    open.tabIndex = -1;
    open.setAttribute("aria-label", `Show ${link.getAttribute("aria-label")} beside the list`);
    open.addEventListener("click", () => show(/** @type {HTMLAnchorElement} */ (link)));
    link.after(open);
  }
  button.addEventListener("click", close);
  WIDE.addEventListener("change", settle);
  settle();
  document.addEventListener("console:beside", () => {
    const link = linkOf(document.activeElement) ?? shown ?? linkOf(document.querySelector(".row"));
    if (link) show(link);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown) close();
  });
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? /** @type {HTMLAnchorElement | null} */ (event.target.closest(".row .at")) : null;
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (shown || WIDE.matches) {
      event.preventDefault();
      show(link);
    } else history.replaceState({ at: link.pathname }, "", beside.dataset.pinned);
  });

  // Back from an event's page: the browser scrolls, and the row has the focus again.
  const left = history.state?.at;
  if (left) {
    const link = [...document.querySelectorAll(".row .at")].find((each) => each.getAttribute("href") === left);
    if (link instanceof HTMLElement) link.focus({ preventScroll: true });
  }
}
