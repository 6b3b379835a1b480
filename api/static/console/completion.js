// @ts-check
// Completes the line of filters, as a combobox (WAI-ARIA 1.2): its words, types and their sentences, and clients that the
// page names. The server is asked for others only where somebody chooses that, since a question is an event.

const line = /** @type {HTMLInputElement | null} */ (document.getElementById("line"));
const TERM = /(-?)(?:([a-z_]+):)?("[^"]*|[^\s"]*)$/;
const MOST = 12;
const CLIENTS = ["client", "by_client"];
const WORDS = {
  type: "what happened",
  "-type": "what is left out",
  client: "a client, or what it caused",
  by_client: "what a client caused",
  person: "a person, by their whole name or address",
  by: "what a person did",
  about: "what was done to a person",
  grant: "a grant, by its id",
  secret: "a version of a secret, by its id",
  incident: "an incident",
  request: "a request, by its id",
  outcome: "what failed, or everything else",
  ip: "an address",
  since: "from a day or a second on, in UTC",
  until: "up to a day or a second, which belongs to it",
};

/** @typedef {{ value: string, words: string, ask?: { kind: string, text: string } }} Option */

if (line) {
  const list = document.createElement("ul");
  list.id = "line-options";
  list.className = "options";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Filters");
  list.hidden = true;
  line.after(list);
  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id })) {
    line.setAttribute(name, value);
  }
  const types = [...document.querySelectorAll("#kinds a[data-type]")].map((each) => ({
    type: /** @type {HTMLElement} */ (each).dataset.type ?? "",
    words: each.parentElement?.querySelector(":scope > .quiet")?.textContent ?? "all of them",
  }));
  const clients = [...document.querySelectorAll("#clients option")].map((each) => ({ id: each.getAttribute("value") ?? "", name: each.textContent ?? "" }));
  /** @type {Option[]} */ let options = [];
  let active = -1;

  /** What stands before the caret, and what of it is being typed. */
  const term = () => {
    const before = line.value.slice(0, line.selectionStart ?? line.value.length);
    const [whole, minus, word, value] = /** @type {RegExpExecArray} */ (TERM.exec(before));
    return { from: before.length - whole.length, to: before.length, minus, word, text: value.replace('"', "") };
  };

  /** Whether one of the texts has it. @param {string} text @param {string[]} texts */
  const has = (text, ...texts) => texts.some((each) => each.toLowerCase().includes(text.toLowerCase()));

  /** @param {string} key @param {string} text @returns {Option[]} */
  const typesOf = (key, text) => types.filter(({ type, words }) => has(text, type, words)).map(({ type, words }) => ({ value: `${key}:${type}`, words }));

  /** A client as the line names it: by name, unless that cannot be quoted. @param {string} key @param {string} id @param {string} name */
  const named = (key, id, name) => `${key}:${!name || name.includes('"') ? id : /\s/.test(name) ? `"${name}"` : name}`;

  /** @param {string} key @param {string} text @returns {Option[]} */
  const clientsOf = (key, text) => [
    ...clients.filter(({ id, name }) => has(text, id, name)).map(({ id, name }) => ({ value: named(key, id, name), words: id })),
    ...(text ? [{ value: `${key}:${text}…`, words: "look for it on the server, which is an event", ask: { kind: "client", text } }] : []),
  ];

  /** @param {string} key @returns {Option[]} */
  const daysOf = (key) =>
    ["today", "yesterday"].map((words, ago) => ({ value: `${key}:${new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10)}`, words }));

  /** @returns {Option[]} */
  const offered = () => {
    const { minus, word, text } = term();
    if (!word) {
      const keys = Object.entries(WORDS).filter(([key]) => key.startsWith(`${minus}${text}`));
      return [...keys.map(([key, words]) => ({ value: `${key}:`, words })), ...(text.length > 1 ? typesOf(`${minus}type`, text) : [])];
    }
    if (word === "type") return typesOf(`${minus}type`, text);
    if (minus) return [];
    if (CLIENTS.includes(word)) return clientsOf(word, text);
    if (word === "incident") return [{ value: "incident:…", words: "the newest, which is an event", ask: { kind: "incident", text } }];
    return word === "since" || word === "until" ? daysOf(word) : [];
  };

  const close = () => {
    options = [];
    active = -1;
    draw();
  };

  const draw = () => {
    list.replaceChildren(
      ...options.map(({ value, words }, at) => {
        const made = document.createElement("li");
        made.id = `line-option-${at}`;
        made.setAttribute("role", "option");
        made.setAttribute("aria-selected", String(at === active));
        const code = document.createElement("code");
        code.textContent = value;
        const quiet = document.createElement("span");
        quiet.className = "quiet";
        quiet.textContent = ` ${words}`;
        made.append(code, quiet);
        made.addEventListener("mousedown", (event) => {
          event.preventDefault();
          take(options[at]);
        });
        return made;
      }),
    );
    list.hidden = !options.length;
    line.setAttribute("aria-expanded", String(!list.hidden));
    if (active < 0) line.removeAttribute("aria-activedescendant");
    else {
      line.setAttribute("aria-activedescendant", `line-option-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    }
  };

  /** @param {Option[]} found */
  const offer = (found) => {
    options = found.slice(0, MOST);
    active = -1;
    draw();
  };

  /** Asks the server, by this person's choice. @param {string} key @param {{ kind: string, text: string }} what */
  const ask = (key, what) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/console/audit/names");
    request.responseType = "document";
    request.addEventListener("loadend", () => {
      const answer = request.status === 200 ? request.responseXML : null;
      const found = [.../** @type {NodeListOf<HTMLElement>} */ (answer?.querySelectorAll("#names > li") ?? [])];
      document.querySelector(".foot .asked")?.append(...(answer?.querySelectorAll(".asked > li") ?? []));
      document.dispatchEvent(new Event("console:asked"));
      if (document.activeElement !== line) return;
      const nothing = { value: "", words: answer ? "none is named so" : "the server could not say" };
      offer(found.length ? found.map((each) => ({ value: named(key, each.dataset.id ?? "", each.dataset.name ?? ""), words: each.textContent ?? "" })) : [nothing]);
    });
    request.send(new URLSearchParams({ csrf: line.dataset.csrf ?? "", ...what }));
  };

  /** @param {Option} option */
  const take = ({ value, ask: what }) => {
    if (what) return ask(value.slice(0, value.indexOf(":")), what);
    const { from, to } = term();
    if (!value) return close();
    const whole = value.endsWith(":") ? value : `${value} `;
    line.setRangeText(whole, from, to, "end");
    if (value.endsWith(":")) offer(offered());
    else close();
  };

  line.addEventListener("input", () => offer(offered()));
  line.addEventListener("blur", close);
  line.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !event.altKey) {
      event.preventDefault();
      if (list.hidden) return offer(offered());
      const round = options.length + 1;
      // Above the first and below the last is the line itself.
      active = ((active + 1 + step + round) % round) - 1;
      draw();
    } else if (event.key === "Enter" && active >= 0) {
      event.preventDefault();
      take(options[active]);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
}
