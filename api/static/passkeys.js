// Passkeys (Web Authentication): asks the browser for one, and has the form that stands for it post the answer.
(() => {
  "use strict";

  const octets = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const known = (list) => (list || []).map((each) => ({ ...each, id: octets(each.id) }));

  const read = (options) => ({
    ...options,
    challenge: octets(options.challenge),
    ...(options.user ? { user: { ...options.user, id: octets(options.user.id) } } : {}),
    ...(options.excludeCredentials ? { excludeCredentials: known(options.excludeCredentials) } : {}),
    ...(options.allowCredentials ? { allowCredentials: known(options.allowCredentials) } : {}),
  });

  const told = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    }
    return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response };
  };

  // What a browser answers to the options of the server, ready to be sent; whoever declines throws.
  const ask = async (options) => {
    const publicKey = read(options);
    const work = publicKey.user ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey });
    return told(await work);
  };
  window.passkeys = window.PublicKeyCredential ? { ask } : null;

  const form = document.getElementById("passkey");
  if (!form || !window.passkeys) return;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = document.getElementById("passkey-error");
    error.textContent = "";
    try {
      form.elements.passkey.value = JSON.stringify(await ask(JSON.parse(form.dataset.options)));
    } catch {
      error.textContent = error.dataset.text;
      return;
    }
    form.submit();
  });
})();
