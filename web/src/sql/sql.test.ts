// What is coloured and laid out is what was written.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { layOut } from "./layout";
import { lex, type Token } from "./lex";

const kinds = (sql: string) => lex(sql).filter((token) => token.kind !== "space").map((token) => `${token.kind} ${token.text}`);
const joined = (tokens: Token[]) => tokens.map((token) => token.text).join("");
const solid = (tokens: Token[]) => tokens.filter((token) => token.kind !== "space").map((token) => token.text);

describe("tokens", () => {
  it("know where strings and comments end", () => {
    expect(kinds("select 'it''s -- no comment' -- one")).toEqual(["keyword select", "string 'it''s -- no comment'", "comment -- one"]);
    expect(kinds(String.raw`E'a\'; drop table t' x`)).toEqual([String.raw`string E'a\'; drop table t'`, "word x"]);
    expect(kinds(String.raw`'a\' x`)).toEqual([String.raw`string 'a\'`, "word x"]);
    expect(kinds("/* a /* b */ still */ x")).toEqual(["comment /* a /* b */ still */", "word x"]);
    expect(kinds("$f$ it's $$ here $f$ $1 $$x$$")).toEqual(["string $f$ it's $$ here $f$", "parameter $1", "string $$x$$"]);
    expect(kinds('"a""b".c U&"d"')).toEqual(['name "a""b"', "operator .", "word c", 'name U&"d"']);
    expect(kinds("1.5e-3 x$y 0xff 'open")).toEqual(["number 1.5e-3", "word x$y", "number 0xff", "string 'open"]);
  });

  it("leave out nothing, whatever the text", () => {
    let seed = 7;
    const random = (below: number) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    const parts = ["'", '"', "$", "$$", "$a$", "/*", "*/", "--", "\n", " ", "E'", "\\", "select", "é", "\u202e", "😀", "\ud800", "1", ".", "e", ";", "(", ")"];
    for (let run = 0; run < 3000; run += 1) {
      const sql = Array.from({ length: random(12) }, () => parts[random(parts.length)]).join("");
      expect(joined(lex(sql))).toBe(sql);
      expect(solid(layOut(sql.repeat(5)))).toEqual(solid(lex(sql.repeat(5))));
    }
    const data = readFileSync(join(import.meta.dirname, "../../../demo/data/orders.sql"), "utf8");
    expect(joined(lex(data))).toBe(data);
  });
});

describe("layout", () => {
  it("breaks lines at clauses", () => {
    const sql = "update products set stock = stock - 1 where id between 1 and 42 and stock > 0 returning id, stock";
    expect(joined(layOut(sql))).toBe("update products\nset stock = stock - 1\nwhere id between 1 and 42\n  and stock > 0\nreturning id, stock");
  });
  it("leaves subqueries, short statements, lines and comments alone", () => {
    const inner = "delete from orders where id in (select id from old where done and gone)";
    expect(joined(layOut(inner))).toBe("delete from orders\nwhere id in (select id from old where done and gone)");
    for (const sql of ["select 1 from t where x", `${inner}\nreturning id`, `${inner} -- and where`]) expect(joined(layOut(sql))).toBe(sql);
  });
});
