// Sign-in of a first-party dashboard. The access token lives in one variable of this closure and in no storage;
// the refresh token is an HttpOnly cookie that no script can read.
(() => {
  "use strict";

  const element = (id) => document.getElementById(id);
  const { login, refresh, logout, resume } = element("dashboard").dataset;
  let accessToken = null;
  let authSession = null;
  let passkeyOptions = null;
  let busy = false;

  const say = (id, text) => { element(id).textContent = text; };

  // What is said stands in the page, in its language.
  const text = (name) => document.querySelector(`#texts [data-text="${name}"]`).textContent;

  // One call at a time over all tabs: each answer replaces the cookie that the next call sends.
  const alone = (work) => (navigator.locks ? navigator.locks.request(`grantlog ${refresh}`, work) : work());

  // The body is read whatever the status, since a browser keeps the connection of one that nobody reads.
  const call = (url, method, given = {}) => alone(() => ask(url, method, given));
  const ask = async (url, method, { body, bearer }) => {
    const headers = { Accept: "application/json", "X-Grantlog": "1" };
    if (body) headers["Content-Type"] = "application/json";
    if (bearer) headers.Authorization = `Bearer ${bearer}`;
    const response = await fetch(url, { method, headers, body: body && JSON.stringify(body), credentials: "same-origin", cache: "no-store" });
    const answer = await response.json().catch(() => ({}));
    return { ok: response.ok, status: response.status, seconds: Number(response.headers.get("Retry-After")), answer };
  };

  const explain = ({ status, seconds, answer }) => {
    if (status === 429) {
      return seconds > 0 ? text("wait-seconds").replace("{seconds}", seconds) : text("wait");
    }
    if (answer.enrol_url) return `${answer.detail} ${new URL(answer.enrol_url, location.href)}`;
    if (status === 401) return text("wrong");
    return answer.detail || answer.title || text("failed");
  };

  const described = (name) => {
    const found = [...document.querySelectorAll("#scopes [data-scope]")].find((each) => each.dataset.scope === name);
    return found ? found.textContent : name;
  };

  // Who signed in, as far as the dashboard may know it; after that, what they typed.
  const showWho = async () => {
    const typed = element("username").value;
    const { answer } = await ask("/oauth/userinfo", "GET", { bearer: accessToken }).catch(() => ({ answer: {} }));
    const name = answer.name || answer.preferred_username || answer.email || typed;
    say("name", name);
    element("who").hidden = !name;
  };

  const showSignedOut = () => {
    accessToken = null;
    element("signed-in").hidden = true;
    element("signed-out").hidden = false;
  };

  const showSignedIn = (answer) => {
    accessToken = answer.access_token;
    element("scope").replaceChildren(...answer.scope.split(" ").filter(Boolean).map((name) => {
      const entry = document.createElement("li");
      entry.textContent = described(name);
      return entry;
    }));
    const expires = new Date(Date.now() + answer.expires_in * 1000);
    say("token-type", answer.token_type);
    say("expires", `${expires.toLocaleTimeString(document.documentElement.lang)} (${answer.expires_in} s)`);
    element("expires").dateTime = expires.toISOString();
    element("signed-out").hidden = true;
    element("signed-in").hidden = false;
    showWho();
  };

  // One call at a time: a second click while the first is under way does nothing.
  const once = (action) => async (event) => {
    event?.preventDefault();
    if (busy) return;
    busy = true;
    say("error", "");
    say("status", "");
    for (const button of document.querySelectorAll("button")) button.disabled = true;
    try {
      await action();
    } catch {
      say("error", text("silent"));
    } finally {
      busy = false;
      for (const button of document.querySelectorAll("button")) button.disabled = false;
    }
  };

  // The password was right, and a second factor is asked for beside it (403); or no factor is asked for.
  const askFactor = (session) => {
    authSession = session;
    element("sign-in").hidden = session !== null;
    element("factor").hidden = session === null;
    element("code").value = "";
    passkeyOptions = null;
    element("use-passkey").hidden = true;
    if (session !== null) element("code").focus();
  };

  const showFactor = async () => {
    const code = element("code").value;
    const isRecoveryCode = code.replace(/[^0-9a-z]/gi, "").length >= 16;
    await complete({ [isRecoveryCode ? "recovery_code" : "totp"]: code });
  };

  const offerPasskey = (options) => {
    passkeyOptions = window.passkeys ? options : null;
    element("use-passkey").hidden = !passkeyOptions;
  };

  const showPasskey = async () => {
    let signed;
    try {
      signed = await window.passkeys.ask(passkeyOptions);
    } catch {
      say("error", text("no-passkey"));
      return;
    }
    await complete({ webauthn: signed });
  };

  const complete = async (factor) => {
    const body = { auth_session: authSession, ...factor };
    const response = await call(login, "POST", { body });
    if (response.ok) {
      askFactor(null);
      showSignedIn(response.answer);
      say("status", text("signed-in"));
      element("heading").focus();
    } else if (response.answer.auth_session) {
      askFactor(response.answer.auth_session);
      offerPasskey(response.answer.webauthn);
      say("error", explain(response));
    } else if (response.status === 401) {
      askFactor(null);
      say("error", text("late"));
    } else {
      say("error", explain(response));
    }
  };

  const signIn = async () => {
    const password = element("password");
    const body = { username: element("username").value, password: password.value };
    password.value = "";
    const response = await call(login, "POST", { body });
    if (response.answer.auth_session) {
      askFactor(response.answer.auth_session);
      offerPasskey(response.answer.webauthn);
      return;
    }
    if (!response.ok) {
      say("error", explain(response));
      return;
    }
    showSignedIn(response.answer);
    say("status", text("signed-in"));
    element("heading").focus();
  };

  const renew = async () => {
    const response = await call(refresh, "POST");
    if (response.ok) {
      showSignedIn(response.answer);
      say("status", text("refreshed"));
    } else if (response.status === 401) {
      showSignedOut();
      say("error", text("ended"));
    } else {
      say("error", explain(response));
    }
  };

  const signOut = async () => {
    const response = await call(logout, "DELETE", { bearer: accessToken });
    if (response.ok || response.status === 401) {
      showSignedOut();
      say("status", text("signed-out"));
      element("heading").focus();
    } else {
      say("error", explain(response));
    }
  };

  element("sign-in").addEventListener("submit", once(signIn));
  element("factor").addEventListener("submit", once(showFactor));
  element("use-passkey").addEventListener("click", once(showPasskey));
  element("refresh").addEventListener("click", once(renew));
  element("sign-out").addEventListener("click", once(signOut));
  if (resume === "yes") once(renew)();
})();
