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

document.addEventListener("keydown", (event) => {
  const find = document.getElementById("find");
  const wanted = (event.key === "/" && !typing(event.target)) || (event.key === "k" && (event.ctrlKey || event.metaKey));
  if (find && wanted && !event.altKey) {
    event.preventDefault();
    find.focus();
  }
});
