// @ts-check
// The slider on a token's page: moves along the moments at which something changed, and between them. Each stop is a look
// at the log, which is recorded, so it looks only where somebody comes to rest.

const form = /** @type {HTMLFormElement | null} */ (document.querySelector("[data-slider]"));
const STEPS = 1000;
const REST = 500;

/** @param {EventTarget | null} target */
const typing = (target) => target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && target.id !== "slider";

document.addEventListener("keydown", (event) => {
  if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  const link = event.key === "[" || event.key === "]" ? document.querySelector(`a[data-key="${event.key}"]`) : null;
  if (link instanceof HTMLAnchorElement) location.assign(`${link.href}#slider`);
});

if (form) {
  const ticks = (form.dataset.ticks ?? "").trim().split(" ").map(BigInt);
  const field = /** @type {HTMLInputElement} */ (form.querySelector("[name=at]"));

  /** Microseconds as RFC 3339. @param {bigint} micros */
  const written = (micros) => {
    const second = new Date(Number(micros / 1_000_000n) * 1000).toISOString().slice(0, 19);
    return `${second}.${String(micros % 1_000_000n).padStart(6, "0")}Z`;
  };

  /** @param {string} text */
  const read = (text) => BigInt(Date.parse(`${text.slice(0, 19)}Z`)) * 1000n + BigInt(text.slice(20, 26));

  /** @param {bigint} at */
  const placeOf = (at) => {
    if (at <= ticks[0]) return 0;
    const next = ticks.findIndex((each) => each > at);
    if (next < 0) return (ticks.length - 1) * STEPS;
    return (next - 1) * STEPS + Number(((at - ticks[next - 1]) * BigInt(STEPS)) / (ticks[next] - ticks[next - 1]));
  };

  /** @param {number} place */
  const momentOf = (place) => {
    const at = Math.floor(place / STEPS);
    if (at >= ticks.length - 1) return ticks[ticks.length - 1];
    return ticks[at] + ((ticks[at + 1] - ticks[at]) * BigInt(place % STEPS)) / BigInt(STEPS);
  };

  const slider = document.createElement("input");
  slider.type = "range";
  slider.id = "slider";
  slider.min = "0";
  slider.max = String((ticks.length - 1) * STEPS);
  slider.step = "10";
  slider.value = String(placeOf(read(form.dataset.at ?? "")));
  slider.setAttribute("aria-label", "Moment");
  slider.setAttribute("aria-valuetext", form.dataset.at ?? "");
  form.append(slider);
  if (location.hash === "#slider") slider.focus();

  let resting = 0;
  slider.addEventListener("input", () => {
    field.value = written(momentOf(Number(slider.value)));
    slider.setAttribute("aria-valuetext", field.value);
    const mark = document.querySelector("[data-mark]");
    const x = String(90 + (Number(slider.value) / Number(slider.max)) * 800);
    mark?.setAttribute("x1", x);
    mark?.setAttribute("x2", x);
    clearTimeout(resting);
    resting = setTimeout(() => {
      const address = new URL(location.href);
      address.searchParams.set("at", field.value);
      address.hash = "slider";
      location.replace(address);
    }, REST);
  });
}
