// Browsers and the command line show the same lines for an envelope: the vectors are those that the gateway's own tests keep.
import { readdirSync, readFileSync } from "node:fs";
import { rendering } from "virtual:rendering";
import { expect, test } from "vitest";
import { digestOf, type Json } from "../proof/canonical";

const folder = new URL("../../../tests/vectors/envelope/", import.meta.url);
const vectors = readdirSync(folder);

test("there are vectors", () => expect(vectors.length).toBeGreaterThan(20));

test.each(vectors)("f54 %s", async (name) => {
  const { envelope, digest, lines } = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as { envelope: Record<string, Json>; digest: string; lines: [string, string][] };
  expect(rendering(envelope)).toEqual(lines);
  expect(await digestOf(envelope)).toBe(digest);
});
