// @ts-check
// What the log shows to anybody (C2SP tlog-tiles): its newest checkpoint, and the proof that one tree extends another.
import { consistent, nodeHash } from "./tree.js";

/** @typedef {import("./note.js").Checkpoint} Checkpoint */

const WIDTH = 256n;

/** @param {string} path */
const file = async (path) => {
  const answer = await fetch(`/log/${path}`, { credentials: "omit", cache: "no-cache" });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`/log/${path} answered ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
};

/** A file of text; empty where there is none. @param {string} path */
export const text = async (path) => new TextDecoder().decode((await file(path)) ?? new Uint8Array());

/** The number of a tile as path elements: 1234067 is `x001/x234/067`. @param {bigint} number */
const pathOf = (number) => {
  let path = String(number % 1000n).padStart(3, "0");
  while ((number /= 1000n)) path = `x${String(number % 1000n).padStart(3, "0")}/${path}`;
  return path;
};

/** @param {bigint} number */
const bits = (number) => BigInt(number.toString(2).length);

/** The hashes of a tree of `size` events, each tile fetched once. @param {bigint} size */
const treeOf = (size) => {
  /** @type {Map<string, Promise<Uint8Array>>} */
  const tiles = new Map();

  /** @param {bigint} level @param {bigint} number */
  const tile = async (level, number) => {
    const whole = (size >> (8n * level)) - number * WIDTH;
    const width = whole < WIDTH ? whole : WIDTH;
    const path = `tile/${level}/${pathOf(number)}`;
    const found = (await file(width < WIDTH ? `${path}.p/${width}` : path)) ?? (width < WIDTH ? await file(path) : null);
    if (found === null || found.length < Number(width) * 32) throw new Error(`${path} is missing`);
    return found;
  };

  /** The root of a perfect subtree. @param {bigint} height @param {bigint} number */
  const of = async (height, number) => {
    const [level, rest] = [height / 8n, height % 8n];
    const first = number << rest;
    const path = `${level}/${first / WIDTH}`;
    const found = tiles.get(path) ?? tile(level, first / WIDTH);
    tiles.set(path, found);
    const start = Number(first % WIDTH) * 32;
    const hashes = await found;
    let row = Array.from({ length: 1 << Number(rest) }, (_, at) => hashes.subarray(start + at * 32, start + at * 32 + 32));
    while (row.length > 1) {
      row = await Promise.all(row.filter((_, at) => at % 2 === 0).map((left, at) => nodeHash(left, row[2 * at + 1])));
    }
    return row[0];
  };

  /** The hash over the events `start` up to, not including, `end`. @param {bigint} start @param {bigint} end */
  return async (start, end) => {
    const hashes = [];
    while (start < end) {
      let height = bits(end - start) - 1n;
      if (start && bits(start & -start) - 1n < height) height = bits(start & -start) - 1n;
      hashes.push(await of(height, start >> height));
      start += 1n << height;
    }
    let root = hashes[hashes.length - 1];
    for (const other of hashes.slice(0, -1).reverse()) root = await nodeHash(other, root);
    return root;
  };
};

/** Whether the newer tree begins with the older one, by tiles that need not be believed. @param {Checkpoint} old @param {Checkpoint} now */
export const extended = async (old, now) => {
  if (old.size === 0n || old.size >= now.size) return consistent(old, now, []);
  const range = treeOf(now.size);
  const proof = [];
  let [start, end] = [0n, now.size];
  while (end !== old.size) {
    const middle = start + (1n << (bits(end - start - 1n) - 1n));
    if (old.size <= middle) {
      proof.push(await range(middle, end));
      end = middle;
    } else {
      proof.push(await range(start, middle));
      start = middle;
    }
  }
  if (start) proof.push(await range(start, end));
  return consistent(old, now, proof.reverse());
};
