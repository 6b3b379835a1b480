// @ts-check
// Dragging over the histogram, with the mouse, a pen or a finger, leads to the search for that stretch of time alone.

const drawing = /** @type {SVGSVGElement | null} */ (document.querySelector("#histogram"));
const said = document.getElementById("stretch");
const LEAST = 5;

if (drawing && said) {
  const bars = /** @type {SVGAElement[]} */ ([...drawing.querySelectorAll("a")]);
  const { width: wide, height: high } = drawing.viewBox.baseVal;
  const chosen = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  chosen.setAttribute("class", "chosen");
  chosen.setAttribute("height", String(high));
  /** @type {number | null} */ let from = null;
  let dragged = false;

  /** The bar at a place of the window. @param {number} x */
  const barAt = (x) => {
    const { left, width } = drawing.getBoundingClientRect();
    return Math.max(0, Math.min(bars.length - 1, Math.floor(((x - left) / width) * bars.length)));
  };

  /** The bars between the place where the dragging began and this one. @param {number} x @returns {[number, number]} */
  const between = (x) => {
    const [one, other] = [barAt(from ?? x), barAt(x)];
    return [Math.min(one, other), Math.max(one, other)];
  };

  /** The search of the first, up to the end of that of the last. @param {number} first @param {number} last */
  const searchOf = (first, last) => {
    const url = new URL(bars[first].href.baseVal, location.href);
    const until = new URL(bars[last].href.baseVal, location.href).searchParams.get("until");
    url.searchParams.set("until", until ?? "");
    return url;
  };

  const stop = () => {
    from = null;
    chosen.remove();
    said.hidden = true;
  };

  drawing.addEventListener("dragstart", (event) => event.preventDefault());
  // Nor does a bar take the focus.
  drawing.addEventListener("mousedown", (event) => event.preventDefault());
  drawing.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    from = event.clientX;
    dragged = false;
  });
  drawing.addEventListener("pointermove", (event) => {
    if (from === null || (!dragged && Math.abs(event.clientX - from) < LEAST)) return;
    if (!dragged) {
      dragged = true;
      drawing.setPointerCapture(event.pointerId);
      drawing.append(chosen);
      said.hidden = false;
    }
    const [first, last] = between(event.clientX);
    chosen.setAttribute("x", String((first / bars.length) * wide));
    chosen.setAttribute("width", String(((last + 1 - first) / bars.length) * wide));
    const { searchParams: asked } = searchOf(first, last);
    said.textContent = `From ${asked.get("since")?.slice(0, 19)} up to ${asked.get("until")?.slice(0, 19)}`;
  });
  drawing.addEventListener("pointerup", (event) => {
    if (from !== null && dragged) location.assign(searchOf(...between(event.clientX)).href);
    stop();
  });
  drawing.addEventListener("pointercancel", stop);
  // A click ends every dragging, also one within a bar.
  drawing.addEventListener("click", (event) => dragged && event.preventDefault(), true);
}
