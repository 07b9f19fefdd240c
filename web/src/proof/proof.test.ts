// The public vectors that `core/ledger` reads, read here by the code that people's browsers run.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { base64, canonical, digestOf, toBase64, type Json } from "./canonical";
import { parseKey, rootFromPath, verifyProof } from "./ledger";

const vectors = join(import.meta.dirname, "../../../tests/vectors");
const specification = readFileSync(join(import.meta.dirname, "../../../docs/specs/ledger.md"), "utf8");

describe("canonical JSON", () => {
  for (const name of readdirSync(join(vectors, "jcs/input"))) {
    const value = JSON.parse(readFileSync(join(vectors, "jcs/input", name), "utf8")) as Json;
    const expected = readFileSync(join(vectors, "jcs/output", name), "utf8");
    it(name, () => {
      if (/[0-9][.e][0-9+-]/.test(expected)) expect(() => canonical(value)).toThrow("no integer");
      else expect(canonical(value)).toBe(expected);
    });
  }
  it("f20: any change gives another digest", async () => {
    const envelope = { v: 1, text: "delete from orders where id = 1", needs: ["write"] };
    const digest = await digestOf(envelope);
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await digestOf({ ...envelope, text: "delete from orders where id = 2" })).not.toBe(digest);
    expect(await digestOf({ needs: ["write"], text: envelope.text, v: 1 })).toBe(digest);
  });
});

interface Inclusion {
  leafIdx: number;
  treeSize: number;
  root: string | null;
  leafHash: string | null;
  proof: string[] | null;
  desc: string;
  wantErr: boolean;
}

function below(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? below(join(folder, entry.name)) : entry.name.endsWith(".json") ? [join(folder, entry.name)] : [],
  );
}

it("f53: inclusion proofs hold and fail as the vectors say", async () => {
  const files = below(join(vectors, "merkle/inclusion"));
  expect(files.length).toBeGreaterThan(50);
  for (const file of files) {
    const vector = JSON.parse(readFileSync(file, "utf8")) as Inclusion;
    const holds = async () => {
      if (vector.leafIdx >= vector.treeSize) return false;
      const bytes = (text: string | null) => base64(text ?? "");
      const root = await rootFromPath(vector.leafIdx, vector.treeSize, bytes(vector.leafHash), (vector.proof ?? []).map(bytes));
      return toBase64(root) === vector.root && bytes(vector.leafHash).length === 32;
    };
    expect(await holds().catch(() => false), `${file}: ${vector.desc}`).toBe(!vector.wantErr);
  }
});

describe("the example of the specification", () => {
  const proof = /```text\n(c2sp\.org\/tlog-proof@v1\n[\s\S]*?\n)```/.exec(specification)?.[1] ?? "";
  const vkey = /signed with the key `([^`]+)`/.exec(specification)?.[1] ?? "";
  const body = { key: "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=", text: /\n(\{"access_request":"rq-4m2k9x7d1c0a","approver".*\})\n/.exec(specification)?.[1] ?? "" };

  it("proves the entry and its body", async () => {
    const proven = await verifyProof(proof, await parseKey(vkey), body);
    expect(proven.entry).toMatchObject({ index: 0, stream: "rq-4m2k9x7d1c0a", type: "approval_given" });
    expect(proven.checkpoint).toMatchObject({ origin: "safeconduct.example/ledger", size: 1 });
    expect(proven.body).toMatchObject({ approver: "bob" });
  });

  it("f53: no byte can be another", async () => {
    const key = await parseKey(vkey);
    for (const [from, to, why] of [
      ["\n1\n", "\n2\n", "signature is wrong"],
      ["DDRR", "DDRS", "signature is wrong"],
      ["RTEwS2Jdwr", "RTEwS2Jdws", "signature is wrong"],
      ["eyJhdCI6MTc5", "eyJhdCI6MTc4", "does not lead to"],
      ["index 0", "index 1", "beyond the checkpoint"],
      ["— safeconduct.example/ledger RTEw", "— safeconduct.example/other RTEw", "not signed with"],
    ] as const) {
      expect(proof).toContain(from);
      await expect(verifyProof(proof.replace(from, to), key, body), from).rejects.toThrow(why);
    }
    await expect(verifyProof(proof, key, { ...body, text: body.text.replace("bob", "eve") })).rejects.toThrow("not what the entry commits to");
    await expect(parseKey(vkey.replace("4531304b", "4531304c"))).rejects.toThrow("id is not");
  });
});
