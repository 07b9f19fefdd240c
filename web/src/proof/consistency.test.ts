// Consistency: the public vectors, and trees of every size made here, read by tiles.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { base64, utf8 } from "./canonical";
import { checkExtends, isConsistent, tilePath } from "./consistency";
import { leafHash, nodeHash } from "./ledger";

type Bytes = Uint8Array<ArrayBuffer>;
const vectors = join(import.meta.dirname, "../../../tests/vectors/merkle/consistency");

function below(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? below(join(folder, entry.name)) : entry.name.endsWith(".json") ? [join(folder, entry.name)] : [],
  );
}

it("f53: consistency proofs hold and fail as the vectors say", async () => {
  const files = below(vectors);
  expect(files.length).toBeGreaterThan(40);
  for (const file of files) {
    const vector = JSON.parse(readFileSync(file, "utf8")) as { size1: number; size2: number; root1: string | null; root2: string | null; proof: string[] | null; desc: string; wantErr: boolean };
    const bytes = (text: string | null) => base64(text ?? "");
    const holds = await isConsistent(vector.size1, vector.size2, bytes(vector.root1), bytes(vector.root2), (vector.proof ?? []).map(bytes));
    expect(holds, `${file}: ${vector.desc}`).toBe(!vector.wantErr);
  }
});

it("f53: a longer ledger extends a shorter one, and no other", async () => {
  const leaves = await Promise.all(Array.from({ length: 600 }, (_, at) => leafHash(utf8(`entry ${at}`))));
  const rootOf = async (hashes: Bytes[]): Promise<Bytes> => {
    if (hashes.length === 1) return hashes[0] as Bytes;
    let half = 1;
    while (half * 2 < hashes.length) half *= 2;
    return nodeHash(await rootOf(hashes.slice(0, half)), await rootOf(hashes.slice(half)));
  };
  const of = async (size: number, from = leaves) => ({ origin: "o", size, root: await rootOf(from.slice(0, size)) });
  const reader = (from: Bytes[]) => async (level: number, index: number, width: number) => {
    let hashes = from;
    for (let at = 0; at < level; at += 1)
      hashes = await Promise.all(Array.from({ length: Math.floor(hashes.length / 256) }, (_, tile) => rootOf(hashes.slice(tile * 256, (tile + 1) * 256))));
    return hashes.slice(index * 256, index * 256 + width);
  };
  for (const [older, newer] of [[1, 2], [1, 600], [3, 7], [255, 256], [256, 257], [256, 512], [257, 600], [511, 513], [512, 600], [599, 600], [600, 600]] as const)
    await checkExtends(await of(older), await of(newer), reader(leaves.slice(0, newer)));
  const forged = [...leaves];
  forged[100] = await leafHash(utf8("another entry"));
  await expect(checkExtends(await of(257), await of(600, forged), reader(forged))).rejects.toThrow("does not hold what");
  await expect(checkExtends(await of(257), await of(600, forged), reader(leaves))).rejects.toThrow("does not hold what");
  await expect(checkExtends(await of(257), await of(256), reader(leaves))).rejects.toThrow("shorter");
});

it("tiles have the paths of the specification", () => {
  expect(tilePath(0, 0, 256)).toBe("0/000");
  expect(tilePath(0, 1234067, 256)).toBe("0/x001/x234/067");
  expect(tilePath(1, 5, 17)).toBe("1/005.p/17");
});
