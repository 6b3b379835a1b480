// @ts-check
// Bytes as the log writes them: hex, canonical base64, big-endian numbers.

/** What cannot be read as what it should be. */
export class Malformed extends Error {}

export const utf8 = new TextEncoder();

/** @param {Uint8Array} bytes */
export const hex = (bytes) => Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");

/** @param {Uint8Array} bytes */
export const encode64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
};

/** @param {string} text */
export const decode64 = (text) => {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) throw new Malformed("not base64");
  const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  if (encode64(bytes) !== text) throw new Malformed("not canonical base64");
  return bytes;
};

/** @param {(Uint8Array | number[])[]} parts */
export const joined = (...parts) => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

/** @param {Uint8Array} one @param {Uint8Array} other */
export const same = (one, other) => one.length === other.length && one.every((each, at) => each === other[at]);

/** @param {Uint8Array} bytes */
export const big = (bytes) => bytes.reduce((sum, each) => (sum << 8n) | BigInt(each), 0n);
