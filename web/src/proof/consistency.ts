// Checks that a newer ledger holds an older one whole: nothing that was seen was changed or taken away. RFC 9162, section 2.1.4.
import { hex } from "./canonical";
import { nodeHash, NotProven, type Checkpoint } from "./ledger";

type Bytes = Uint8Array<ArrayBuffer>;

/** Hashes of one tile (`docs/specs/ledger.md`, section 5), `width` of them. */
export type ReadTile = (level: number, index: number, width: number) => Promise<Bytes[]>;

/** Checks that `newer` extends `older`, with hashes read from the newer one's tiles. The tiles are not trusted: they prove it or they don't. */
export async function checkExtends(older: Checkpoint, newer: Checkpoint, read: ReadTile): Promise<void> {
  if (older.origin !== newer.origin) throw new NotProven("the checkpoints are of different ledgers");
  if (newer.size < older.size) throw new NotProven("the ledger is shorter than it was");
  const tree = new Tree(newer.size, read);
  const proof = older.size === 0 || older.size === newer.size ? [] : await Promise.all(consistencyRanges(older.size, newer.size).map(([from, to]) => tree.hash(from, to)));
  if (!(await isConsistent(older.size, newer.size, older.root, newer.root, proof))) throw new NotProven("the ledger does not hold what this browser saw of it before");
}

/** True if the proof shows that a tree of `size1` with `root1` is the beginning of one of `size2` with `root2`. */
export async function isConsistent(size1: number, size2: number, root1: Bytes, root2: Bytes, proof: Bytes[]): Promise<boolean> {
  const same = (a: Bytes, b: Bytes) => hex(a) === hex(b);
  if (size1 > size2 || root1.length !== 32 || root2.length !== 32 || proof.some((hash) => hash.length !== 32)) return false;
  if (size1 === size2) return proof.length === 0 && same(root1, root2);
  // Every ledger extends one of which nothing was seen; then there is nothing to prove.
  if (size1 === 0) return proof.length === 0;
  const path = isPowerOfTwo(size1) ? [root1, ...proof] : [...proof];
  let first = BigInt(size1) - 1n;
  let second = BigInt(size2) - 1n;
  while (first % 2n === 1n) {
    first /= 2n;
    second /= 2n;
  }
  const seed = path.shift();
  if (!seed) return false;
  let [old, all] = [seed, seed];
  for (const hash of path) {
    if (second === 0n) return false;
    if (first % 2n === 1n || first === second) {
      old = await nodeHash(hash, old);
      all = await nodeHash(hash, all);
      while (first % 2n === 0n && first !== 0n) {
        first /= 2n;
        second /= 2n;
      }
    } else {
      all = await nodeHash(all, hash);
    }
    first /= 2n;
    second /= 2n;
  }
  return second === 0n && same(old, root1) && same(all, root2);
}

const isPowerOfTwo = (size: number) => 2 ** Math.round(Math.log2(size)) === size;

/** The largest power of two below `size`. */
function split(size: number): number {
  let half = 1;
  while (half * 2 < size) half *= 2;
  return half;
}

/** Which parts of the newer tree the proof consists of, in its order: RFC 9162, section 2.1.4.1. */
export function consistencyRanges(older: number, newer: number): [from: number, to: number][] {
  const parts = (size: number, from: number, to: number, whole: boolean): [number, number][] => {
    if (size === to - from) return whole ? [] : [[from, to]];
    const half = split(to - from);
    return size <= half ? [...parts(size, from, from + half, whole), [from + half, to]] : [...parts(size - half, from + half, to, false), [from, from + half]];
  };
  return parts(older, 0, newer, true);
}

/** Hashes of parts of a tree, worked out from its tiles. */
class Tree {
  private readonly tiles = new Map<string, Promise<Bytes[]>>();
  constructor(
    private readonly size: number,
    private readonly read: ReadTile,
  ) {}

  async hash(from: number, to: number): Promise<Bytes> {
    const size = to - from;
    if (isPowerOfTwo(size) && from % size === 0) return this.perfect(Math.round(Math.log2(size)), from / size);
    const half = split(size);
    return nodeHash(await this.hash(from, from + half), await this.hash(from + half, to));
  }

  /** The root of a perfect tree of 2^height leaves: worked out from the hashes of the tile level at or below it. */
  private async perfect(height: number, index: number): Promise<Bytes> {
    const level = Math.floor(height / 8);
    const count = 2 ** (height % 8);
    const first = index * count;
    const tile = Math.floor(first / 256);
    const width = Math.min(256, Math.floor(this.size / 256 ** level) - tile * 256);
    const name = `${level}/${tile}`;
    if (!this.tiles.has(name)) this.tiles.set(name, this.read(level, tile, width));
    let hashes = ((await this.tiles.get(name)) ?? []).slice(first % 256, (first % 256) + count);
    if (hashes.length !== count) throw new NotProven("a tile of the ledger lacks hashes");
    while (hashes.length > 1) hashes = await Promise.all(Array.from({ length: hashes.length / 2 }, (_, at) => nodeHash(hashes[2 * at] as Bytes, hashes[2 * at + 1] as Bytes)));
    return hashes[0] as Bytes;
  }
}

/** The path of a tile, as the API has it after `tile/`. */
export function tilePath(level: number, index: number, width: number): string {
  const groups = [String(index % 1000).padStart(3, "0")];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  return `${level}/${groups.join("/")}${width < 256 ? `.p/${width}` : ""}`;
}
