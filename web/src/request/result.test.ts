import { describe, expect, it } from "vitest";
import { csv, lines, nothing, take } from "./result";

const stream = (...parts: Uint8Array[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });

describe("results", () => {
  it("are the same wherever the stream is cut", async () => {
    const bytes = new TextEncoder().encode('{"part":"row","values":["é😀"]}\n{"part":"complete","command":"SELECT 1","rows":1}\n');
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const whole: string[] = [];
      for await (const some of lines(stream(bytes.slice(0, cut), bytes.slice(cut)))) whole.push(...some);
      expect(whole.map((line) => (JSON.parse(line) as { part: string }).part)).toEqual(["row", "complete"]);
      expect(whole[0]).toContain("é😀");
    }
  });

  it("keep each statement's rows with its columns, and count what they do not keep", () => {
    const so = nothing();
    take(so, { part: "columns", names: ["a"] });
    for (let row = 0; row < 100_002; row += 1) take(so, { part: "row", values: [String(row)] });
    take(so, { part: "columns", names: ["b", "c"] });
    take(so, { part: "row", values: [null, "x"] });
    take(so, { part: "outcome", result: { outcome: "executed", command: "SELECT 1", rows: 1, transaction: "committed" } });
    expect(so.sets.map((set) => [set.columns, set.rows.length, set.more])).toEqual([[["a"], 100_000, 2], [["b", "c"], 1, 0]]);
    expect([so.outcome, so.end]).toEqual(["executed", "executed"]);
  });
});

describe("csv", () => {
  it("tells NULL from an empty text and keeps what is odd", () => {
    expect(csv({ columns: ["a", 'b "c"'], rows: [[null, ""], ["x,y\n", '"'], ["=1+1", "\r"]] })).toBe('"a","b ""c"""\r\n,""\r\n"x,y\n",""""\r\n"=1+1","\r"\r\n');
  });
});
