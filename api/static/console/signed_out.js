// @ts-check
// Tells the console's other tabs that their session has ended.

new BroadcastChannel("grantlog-console").postMessage("signed-out");
