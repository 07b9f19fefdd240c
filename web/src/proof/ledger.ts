// Checks that an entry is in the ledger, by what the specification says and nothing the gateway says about itself: docs/specs/ledger.md.
import { base64, canonical, hex, sha256, utf8, type Json } from "./canonical";

type Bytes = Uint8Array<ArrayBuffer>;

export interface VerifierKey {
  name: string;
  id: Bytes;
  publicKey: Bytes;
}

export interface Checkpoint {
  origin: string;
  size: number;
  root: Bytes;
}

/** A leaf, as the specification has it. */
export interface Entry {
  at: number;
  body: string;
  entry: number;
  index: number;
  stream: string;
  type: string;
  version: number;
}

export interface Proven {
  entry: Entry;
  checkpoint: Checkpoint;
  /** The event, checked to be what the entry commits to; `undefined` if it was erased. */
  body: Json | undefined;
}

/** Something does not prove what it should; says what. */
export class NotProven extends Error {}

function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new NotProven(what);
}

/** Reads `name+id+key` and checks that the id belongs to the key. */
export async function parseKey(text: string): Promise<VerifierKey> {
  const parts = text.split("+");
  const [name, id] = parts;
  // Base64 may hold `+` itself.
  const encoded = parts.slice(2).join("+");
  must(name !== undefined && name !== "" && id !== undefined && encoded !== "", "the key is no verifier key");
  const key = base64(encoded);
  must(key.length === 33 && key[0] === 1, "the key is no Ed25519 key");
  const expected = (await sha256(concat(utf8(`${name}\n`), key))).slice(0, 4);
  must(hex(expected) === id, "the key's id is not the key's");
  return { name, id: expected, publicKey: key.slice(1) };
}

/** Opens a signed checkpoint with a known key. */
export async function openCheckpoint(note: string, key: VerifierKey): Promise<Checkpoint> {
  const end = note.indexOf("\n\n");
  must(end >= 0, "the checkpoint is no signed note");
  const text = note.slice(0, end + 1);
  let signed = false;
  for (const line of note.slice(end + 2).split("\n").filter((line) => line !== "")) {
    const found = /^— (\S+) (\S+)$/.exec(line);
    must(found !== null, "a signature of the checkpoint has no such form");
    const bytes = base64(found[2] ?? "");
    // Signatures by keys that nobody here knows say nothing.
    if (found[1] !== key.name || hex(bytes.slice(0, 4)) !== hex(key.id)) continue;
    const publicKey = await crypto.subtle.importKey("raw", key.publicKey, { name: "Ed25519" }, false, ["verify"]);
    must(await crypto.subtle.verify({ name: "Ed25519" }, publicKey, bytes.slice(4), utf8(text)), "the checkpoint's signature is wrong");
    signed = true;
  }
  must(signed, "the checkpoint is not signed with the ledger's key");
  const lines = text.split("\n");
  const [origin, size, root] = lines;
  must(lines.length === 4 && origin === key.name, "the checkpoint is of another ledger");
  must(size !== undefined && /^(0|[1-9][0-9]{0,15})$/.test(size) && root !== undefined, "the checkpoint has no such form");
  const bytes = base64(root);
  must(bytes.length === 32, "the checkpoint's root is no hash");
  return { origin, size: Number(size), root: bytes };
}

/** Checks a proof file (`c2sp.org/tlog-proof@v1`), the body it commits to, and the checkpoint it leads to. */
export async function verifyProof(file: string, key: VerifierKey, body?: { key: string; text: string }): Promise<Proven> {
  const lines = file.split("\n");
  const blank = lines.indexOf("");
  must(lines[0] === "c2sp.org/tlog-proof@v1" && blank > 2, "the proof has no such form");
  const leaf = base64(/^extra (\S+)$/.exec(lines[1] ?? "")?.[1] ?? "");
  const index = Number(/^index (0|[1-9][0-9]{0,15})$/.exec(lines[2] ?? "")?.[1] ?? NaN);
  const hashes = lines.slice(3, blank).map(base64);
  const checkpoint = await openCheckpoint(lines.slice(blank + 1).join("\n"), key);
  must(Number.isSafeInteger(index) && index < checkpoint.size, "the entry lies beyond the checkpoint");
  const root = await rootFromPath(index, checkpoint.size, await leafHash(leaf), hashes);
  must(hex(root) === hex(checkpoint.root), "the path from the entry does not lead to the checkpoint's root");
  const text = new TextDecoder("utf-8", { fatal: true }).decode(leaf);
  const entry = JSON.parse(text) as Entry;
  must(canonical(entry as unknown as Json) === text, "the entry is not in its one spelling");
  must(entry.entry === 1 && entry.index === index, "the entry is of another place or format");
  if (!body) return { entry, checkpoint, body: undefined };
  const hmacKey = await crypto.subtle.importKey("raw", base64(body.key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const commitment = new Uint8Array(await crypto.subtle.sign("HMAC", hmacKey, utf8(body.text)));
  must(entry.body === `hmac-sha256:${hex(commitment)}`, "what is shown is not what the entry commits to");
  return { entry, checkpoint, body: JSON.parse(body.text) as Json };
}

export async function leafHash(leaf: Bytes): Promise<Bytes> {
  return sha256(concat(Uint8Array.of(0), leaf));
}

export async function nodeHash(left: Bytes, right: Bytes): Promise<Bytes> {
  return sha256(concat(Uint8Array.of(1), left, right));
}

/** RFC 9162, section 2.1.3.2: the root that this path gives for a leaf at `index` in a tree of `size`. */
export async function rootFromPath(index: number, size: number, leaf: Bytes, path: Bytes[]): Promise<Bytes> {
  // Beyond 2^31 the operators on bits lie.
  let at = BigInt(index);
  let last = BigInt(size) - 1n;
  let hash = leaf;
  for (const sibling of path) {
    must(last > 0n && sibling.length === 32, "the path is too long");
    if (at % 2n === 1n || at === last) {
      hash = await nodeHash(sibling, hash);
      while (at % 2n === 0n && at !== 0n) {
        at /= 2n;
        last /= 2n;
      }
    } else {
      hash = await nodeHash(hash, sibling);
    }
    at /= 2n;
    last /= 2n;
  }
  must(last === 0n, "the path is too short");
  return hash;
}

function concat(...parts: Bytes[]): Bytes {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
