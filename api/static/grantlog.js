// Keeps a dashboard's person signed in: renews the access token before it ends, once for all tabs, and tells every tab
// of a sign-out. Tokens live in memory alone, the refresh token in an HttpOnly cookie that no script can read.
//
//   const session = grantlog.dashboard("https://login.example.com/dashboards/shop");
//   await session.signIn({ username, password });      // or { auth_session, totp }: the server's answer
//   await session.fetch("https://login.example.com/admin/clients");
//
// The token goes to that server alone, and to origins that are listed:
//   grantlog.dashboard(url, { origins: ["https://api.example.com"] });
//   session.addEventListener("signed-out", () => …);
(() => {
  "use strict";

  const EARLY = 0.2; // of a token's life is left when it is renewed
  const AT_LEAST = 1000; // milliseconds between two attempts
  const TURN = 3; // milliseconds: whoever waited longer for the lock has waited for another tab
  const TOLD_WITHIN = 100; // milliseconds in which one tab hears what another tells

  class DashboardSession extends EventTarget {
    #url;
    #name;
    #tokens = null;
    #over = 0;
    #timer = null;
    #channel;
    #origins;

    constructor(url, { origins = [] } = {}) {
      super();
      this.#url = String(url).replace(/\/+$/, "");
      this.#origins = new Set([this.#url, ...origins].map((each) => new URL(each, location.href).origin));
      this.#name = `grantlog ${new URL(this.#url, location.href).pathname}/refresh`;
      this.#channel = new BroadcastChannel(`grantlog ${new URL(this.#url, location.href)}`);
      this.#channel.onmessage = ({ data }) => (data.tokens ? this.#take(data.tokens, data.at) : this.#forget());
    }

    /** The scope of the access token, null where nobody is signed in. */
    get scope() {
      return this.#tokens?.scope ?? null;
    }

    /** Signs in; gives what the server answered. What it asks for besides stands in that (`auth_session`, `factors`). */
    async signIn(credentials) {
      const { ok, answer, at } = await this.#alone(() => this.#ask("/login", "POST", credentials));
      if (ok) this.#share(answer, at);
      return answer;
    }

    /** An access token that is good for a while yet; null where nobody is signed in. */
    async token() {
      if (this.#tokens === null || Date.now() >= this.#over) await this.refresh();
      return this.#tokens?.access_token ?? null;
    }

    /** Renews the tokens, unless another tab has just done so. Whether somebody is signed in. */
    async refresh() {
      const before = this.#over;
      const asked = performance.now();
      return this.#alone(async () => {
        // Whoever had the lock before has told of new ones, which may be on the way to this tab.
        if (performance.now() - asked > TURN) await new Promise((done) => setTimeout(done, TOLD_WITHIN));
        if (this.#over > before) return true;
        const { ok, status, answer, at } = await this.#ask("/refresh", "POST");
        if (ok) this.#share(answer, at);
        else if (status === 401) this.#leave();
        return ok;
      });
    }

    /** Signs out, in every tab. */
    async signOut() {
      const bearer = this.#tokens?.access_token;
      const { ok, status } = await this.#alone(() => this.#ask("/logout", "DELETE", undefined, bearer));
      if (ok || status === 401) this.#leave();
      return ok || status === 401;
    }

    /**
     * As the browser's own `fetch`, with the access token, once more with a new one after 401; where the request goes to
     * an origin that is none of the session's, without it.
     */
    async fetch(resource, options = {}) {
      const { origin } = new URL(resource instanceof Request ? resource.url : resource, location.href);
      if (!this.#origins.has(origin)) return fetch(resource, options);
      const ask = async () => {
        const headers = new Headers(options.headers ?? (resource instanceof Request ? resource.headers : undefined));
        const token = await this.token();
        if (token !== null) headers.set("Authorization", `Bearer ${token}`);
        // A request is good for one time, and there may be a second one.
        return fetch(resource instanceof Request ? resource.clone() : resource, { ...options, headers });
      };
      const answer = await ask();
      if (answer.status !== 401 || this.#tokens === null) return answer;
      if (!(await this.refresh())) return answer;
      await answer.body?.cancel();
      return ask();
    }

    /** Stops the timer and listens no more. */
    close() {
      clearTimeout(this.#timer);
      this.#channel.close();
    }

    // One call at a time over all tabs: each answer replaces the cookie that the next call sends.
    #alone(work) {
      return navigator.locks ? navigator.locks.request(this.#name, work) : work();
    }

    async #ask(path, method, body, bearer) {
      const headers = { Accept: "application/json", "X-Grantlog": "1" };
      if (body) headers["Content-Type"] = "application/json";
      if (bearer) headers.Authorization = `Bearer ${bearer}`;
      const given = { method, headers, body: body && JSON.stringify(body), credentials: "include", cache: "no-store" };
      const at = Date.now();
      const response = await fetch(this.#url + path, given);
      return { ok: response.ok, status: response.status, answer: await response.json().catch(() => ({})), at };
    }

    #share(tokens, at) {
      this.#take(tokens, at);
      this.#channel.postMessage({ tokens, at });
    }

    #take(tokens, at) {
      const lives = tokens.expires_in * 1000;
      this.#tokens = tokens;
      this.#over = at + lives * (1 - EARLY);
      clearTimeout(this.#timer);
      // Tabs that wake at the same moment take turns, and the first one renews for all.
      this.#timer = setTimeout(() => this.#renew(), Math.max(AT_LEAST, this.#over - Date.now()));
      this.dispatchEvent(new CustomEvent("tokens", { detail: { scope: tokens.scope, expires_in: tokens.expires_in } }));
    }

    async #renew() {
      try {
        if (await this.refresh()) return;
      } catch {
        // The network is away.
      }
      if (this.#tokens !== null) this.#timer = setTimeout(() => this.#renew(), 10 * AT_LEAST);
    }

    #leave() {
      this.#forget();
      this.#channel.postMessage({ tokens: null });
    }

    #forget() {
      const was = this.#tokens !== null;
      clearTimeout(this.#timer);
      this.#tokens = null;
      this.#over = 0;
      if (was) this.dispatchEvent(new Event("signed-out"));
    }
  }

  globalThis.grantlog = Object.freeze({ dashboard: (url, options) => new DashboardSession(url, options) });
})();
