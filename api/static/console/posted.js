// @ts-check
// Whoever comes back here gets an empty desk: else a browser asks whether to send what was pasted once more, and it is
// not kept.

history.replaceState(null, "", "/console/leaks");
