// @ts-check
// Searches that somebody keeps in this browser under a name of their own. A search is its address, which holds ids and no
// name of anybody's; what unseals personal values is left out, so that a link shows nothing that nobody asked to see.

const KEY = "grantlog-console-searches";
const LEFT_OUT = ["after", "show"];
const place = document.getElementById("saved");

/** @typedef {{ name: string, query: string }} Search */

/** What is kept, as far as it can be read. @returns {Search[]} */
const kept = () => {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => typeof each?.name === "string" && typeof each?.query === "string") : [];
  } catch {
    return [];
  }
};

/** The search of this page. */
const here = () => {
  const asked = new URLSearchParams(location.search);
  LEFT_OUT.forEach((each) => asked.delete(each));
  return asked.toString();
};

/** @param {string} words @param {() => void} act @param {string} about */
const button = (words, act, about) => {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button small";
  made.textContent = words;
  made.setAttribute("aria-label", `${words} ${about}`);
  made.addEventListener("click", act);
  return made;
};

if (place) {
  const list = document.createElement("ul");
  list.className = "own";
  const said = document.createElement("p");
  said.className = "quiet";
  said.setAttribute("role", "status");
  const form = document.createElement("form");
  form.className = "keep";
  const label = document.createElement("label");
  label.textContent = "Name of this search";
  label.htmlFor = "search-name";
  const field = document.createElement("input");
  field.id = "search-name";
  field.maxLength = 80;
  field.autocomplete = "off";
  field.required = true;
  const save = document.createElement("button");
  save.type = "submit";
  save.className = "button small";
  save.textContent = "Save";
  form.append(label, field, save);
  /** @type {string | null} */ let renamed = null;

  /** @param {Search[]} searches @param {string} words */
  const keep = (searches, words) => {
    try {
      localStorage.setItem(KEY, JSON.stringify(searches));
      said.textContent = words;
    } catch {
      said.textContent = "This browser keeps nothing.";
    }
    draw();
  };

  /** @param {Search} search */
  const row = ({ name, query }) => {
    const made = document.createElement("li");
    const link = document.createElement("a");
    const url = `/console/audit${query ? `?${query}` : ""}`;
    link.href = url;
    link.textContent = name;
    const copy = async () => {
      await navigator.clipboard.writeText(new URL(url, location.href).href);
      said.textContent = `The link to ${name} is copied.`;
    };
    const rename = () => {
      renamed = name;
      field.value = name;
      label.textContent = `New name of ${name}`;
      field.focus();
    };
    const forget = () => {
      keep(kept().filter((each) => each.name !== name), `${name} is deleted.`);
      field.focus();
    };
    const acts = [button("Rename", rename, name), button("Delete", forget, name)];
    // A page without TLS may not write what is pasted elsewhere.
    if (navigator.clipboard) acts.unshift(button("Copy link", copy, name));
    made.append(link, ...acts);
    return made;
  };

  const draw = () => list.replaceChildren(...kept().map(row));

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = field.value.trim();
    if (!name) return;
    const searches = kept();
    const changed = searches.find((each) => each.name === renamed);
    const query = changed ? changed.query : here();
    const others = searches.filter((each) => each.name !== name && each.name !== renamed);
    renamed = null;
    field.value = "";
    label.textContent = "Name of this search";
    keep([...others, { name, query }].sort((one, other) => one.name.localeCompare(other.name)), `${name} is saved in this browser.`);
  });

  place.append(list, form, said);
  draw();
}
