// @ts-check
// Follows the log: events as rows, the newest first. Space pauses; a tab that nobody sees for five minutes lets go.

const MOST = 500;
const HIDDEN_FOR = 5 * 60 * 1000;
const AGAIN_AFTER = 2_000;

const live = document.getElementById("live");
const rows = document.getElementById("rows");
const pause = /** @type {HTMLButtonElement | null} */ (document.getElementById("pause"));
const standing = document.getElementById("standing");

if (live && rows && pause && standing) {
  const ends = (live.dataset.ends ?? "").split(" ");
  const grants = (live.dataset.grants ?? "").split(" ");
  /** @type {AbortController | undefined} */ let stopped;
  let following = false;
  /** @type {HTMLElement[]} */ let held = [];
  let paused = false;
  let last = "";
  /** @type {number | undefined} */ let leaving;

  const is = (/** @type {string} */ word, /** @type {string[]} */ words) => words.some((each) => word === each || word.endsWith(`_${each}`));

  /** @param {string} name @param {string} words @param {string} kind */
  const part = (name, words, kind = "span") => {
    const made = document.createElement(kind);
    made.className = name;
    made.textContent = words;
    return made;
  };

  /** The row of an event. @param {any} event */
  const row = (event) => {
    const word = event.type.slice(event.type.lastIndexOf(".") + 1);
    const sort = is(word, ends) ? "ended" : is(word, grants) ? "granted" : "fact";
    const made = part(`row ${sort}`, "", "li");
    const mark = part("mark", sort === "ended" ? "✕" : sort === "granted" ? "◆" : "●");
    mark.setAttribute("aria-hidden", "true");
    const time = part("figures", event.time, "time");
    time.setAttribute("datetime", event.time);
    const names = event.names ?? {};
    const { id, kind } = event.actor;
    const named = names[id] ?? names[`client:${id}`] ?? names[`account:${id}`];
    const nobody = kind === "system" ? "the system" : "nobody who is known";
    const unnamed = () => (kind === "person" ? `person ${id.slice(0, 4)}…${id.slice(-4)}` : `${id} (${kind})`);
    const by = id === null ? nobody : named ? `${named} (${kind})` : unnamed();
    const at = /** @type {HTMLAnchorElement} */ (part("figures at", String(event.position), "a"));
    at.href = `/console/events/${event.position}`;
    at.setAttribute("aria-label", `Event ${event.position}`);
    made.append(time, mark, part("said", event.meaning), part("by", `by ${by}`), at);
    return made;
  };

  const tell = (/** @type {string} */ words = "") => {
    standing.textContent = words || (paused ? `Paused, ${held.length} new.` : "Following.");
    pause.textContent = paused ? "Go on" : "Pause";
  };

  const show = (/** @type {HTMLElement[]} */ made) => {
    rows.prepend(...made.reverse());
    while (rows.childElementCount > MOST) rows.lastElementChild?.remove();
  };

  /** One message of the stream (HTML §9.2.6): its id and its data. @param {string} message */
  const hear = (message) => {
    let data = "";
    for (const line of message.split("\n")) {
      if (line.startsWith("id:")) last = line.slice(3).trim();
      if (line.startsWith("data:")) data += line.slice(5).trimStart();
    }
    if (!data) return;
    const made = row(JSON.parse(data));
    if (paused) {
      held.push(made);
      if (held.length > MOST) held.shift();
      tell();
    } else show([made]);
  };

  /** Reads the stream to its end. Browsers' own reader of such streams hears only names that it was told. */
  const read = async () => {
    stopped = new AbortController();
    const headers = last ? { "Last-Event-ID": last } : {};
    const answer = await fetch(live.dataset.stream ?? "", { headers, signal: stopped.signal });
    if (answer.status >= 500 || answer.status === 429) throw new Error("the server or its database is away");
    if (!answer.ok || !answer.body || !(answer.headers.get("content-type") ?? "").startsWith("text/event-stream")) return false;
    tell();
    let rest = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return true;
      const messages = (rest + value).split("\n\n");
      rest = messages.pop() ?? "";
      messages.forEach(hear);
    }
  };

  /** Goes on after every end but that of the right to read. */
  const follow = async () => {
    if (following) return;
    following = true;
    for (;;) {
      try {
        if (!(await read())) {
          tell("Not following: you are signed out, or may not read the log any more. Load the page again.");
          break;
        }
      } catch {
        if (stopped?.signal.aborted) break;
        tell("Connecting again.");
      }
      await new Promise((done) => setTimeout(done, AGAIN_AFTER));
    }
    following = false;
  };

  const turn = () => {
    paused = !paused;
    if (!paused) {
      show(held);
      held = [];
    }
    tell();
  };

  pause.hidden = false;
  pause.addEventListener("click", turn);
  document.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target === document.body && document.documentElement.dataset.keys !== "off") {
      event.preventDefault();
      turn();
    }
  });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(leaving);
    if (document.hidden) {
      leaving = setTimeout(() => {
        stopped?.abort();
        tell("Not following: nobody was looking.");
      }, HIDDEN_FOR);
    } else follow();
  });
  follow();
}
