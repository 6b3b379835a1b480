// @ts-check
// Merkle trees (RFC 6962 §2.1, RFC 9162 §2.1): hashes, the way from a leaf to the root, and that one tree extends another.
import { decode64, encode64, joined, same } from "./bytes.js";

/** @typedef {import("./note.js").Checkpoint} Checkpoint */

/** @param {Uint8Array} bytes */
export const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {BufferSource} */ (bytes)));

/** @param {Uint8Array} event */
export const leafHash = (event) => sha256(joined([0], event));

/** @param {Uint8Array} left @param {Uint8Array} right */
export const nodeHash = (left, right) => sha256(joined([1], left, right));

/** @typedef {{hash: Uint8Array, position: bigint, last: bigint}} Step */

/** One step up a path; null where the tree has no more. @param {Step} step @param {Uint8Array} sibling */
const up = async ({ hash, position, last }, sibling) => {
  if (last === 0n) return null;
  if (position & 1n || position === last) {
    hash = await nodeHash(sibling, hash);
    while (!(position & 1n) && position) [position, last] = [position >> 1n, last >> 1n];
  } else {
    hash = await nodeHash(hash, sibling);
  }
  return { hash, position: position >> 1n, last: last >> 1n };
};

/**
 * The way from a leaf's hash to the root, both included; null where the path is too short or too long for the tree.
 * @param {Uint8Array} leaf @param {bigint} index @param {bigint} size @param {Uint8Array[]} path
 */
export const climb = async (leaf, index, size, path) => {
  if (index < 0n || index >= size) return null;
  /** @type {Step[]} */
  const steps = [{ hash: leaf, position: index, last: size - 1n }];
  for (const sibling of path) {
    const step = await up(steps[steps.length - 1], sibling);
    if (step === null) return null;
    steps.push(step);
  }
  return steps[path.length].last === 0n ? steps : null;
};

/**
 * Which hash of a path that leads elsewhere would lead to the root with one bit set right, of the hash or of its base64;
 * null if none would. So a path that was changed on its way is told from an event that is not in the tree.
 * @param {Step[]} steps @param {Uint8Array[]} path @param {Uint8Array} root
 */
export const damaged = async (steps, path, root) => {
  for (let at = 0; at < path.length; at++) {
    const tried = await Promise.all(
      neighbours(path[at]).map(async (near) => {
        let step = await up(steps[at], near);
        for (const sibling of path.slice(at + 1)) step = step && (await up(step, sibling));
        return step !== null && same(step.hash, root);
      }),
    );
    if (tried.includes(true)) return at;
  }
  return null;
};

/** The hashes that are one bit away, and those whose base64 is. @param {Uint8Array} hash */
const neighbours = (hash) => {
  const found = Array.from({ length: 256 }, (_, bit) => {
    const near = hash.slice();
    near[bit >> 3] ^= 1 << (bit & 7);
    return near;
  });
  const text = encode64(hash);
  for (let at = 0; at < text.length; at++) {
    for (let bit = 0; bit < 7; bit++) {
      const changed = String.fromCharCode(text.charCodeAt(at) ^ (1 << bit));
      try {
        found.push(decode64(text.slice(0, at) + changed + text.slice(at + 1)));
      } catch {
        // No base64.
      }
    }
  }
  return found.filter((each) => each.length === hash.length);
};

/**
 * Whether the old tree is the beginning of the new one (RFC 9162 §2.1.4.2).
 * @param {Checkpoint} old @param {Checkpoint} now @param {Uint8Array[]} proof
 */
export const consistent = async (old, now, proof) => {
  if (old.size > now.size) return false;
  if (old.size === 0n || old.size === now.size) return proof.length === 0 && (old.size === 0n || same(old.root, now.root));
  const nodes = old.size & (old.size - 1n) ? [...proof] : [old.root, ...proof];
  if (nodes.length === 0) return false;
  let position = old.size - 1n;
  let last = now.size - 1n;
  while (position & 1n) [position, last] = [position >> 1n, last >> 1n];
  let smaller = nodes[0];
  let larger = nodes[0];
  for (const node of nodes.slice(1)) {
    if (last === 0n) return false;
    if (position & 1n || position === last) {
      smaller = await nodeHash(node, smaller);
      larger = await nodeHash(node, larger);
      while (!(position & 1n) && position) [position, last] = [position >> 1n, last >> 1n];
    } else {
      larger = await nodeHash(larger, node);
    }
    [position, last] = [position >> 1n, last >> 1n];
  }
  return last === 0n && same(smaller, old.root) && same(larger, now.root);
};

/** What must be kept of a tree to go on adding to it: the roots of its perfect subtrees, one a bit of its size. */
export class CompactRange {
  constructor() {
    this.size = 0n;
    /** @type {Uint8Array[]} */
    this.roots = [];
  }

  /** @param {Uint8Array} root @param {bigint} height */
  async add(root, height = 0n) {
    for (let bit = 1n << height; this.size & bit; bit <<= 1n) {
      root = await nodeHash(/** @type {Uint8Array} */ (this.roots.pop()), root);
    }
    this.roots.push(root);
    this.size += 1n << height;
  }

  async root() {
    if (this.roots.length === 0) return sha256(new Uint8Array());
    let root = this.roots[this.roots.length - 1];
    for (const other of this.roots.slice(0, -1).reverse()) root = await nodeHash(other, root);
    return root;
  }
}
