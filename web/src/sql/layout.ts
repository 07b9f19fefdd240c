// Lays a statement out in lines. Changes white space between tokens and nothing else: never a character of a string, name or comment.
import { lex, type Token } from "./lex";

/** Words that begin a line of their own, at the level of the statement they belong to. */
const CLAUSES = new Set(["from", "where", "set", "values", "returning", "group", "having", "order", "limit", "offset", "union", "except", "intersect", "window", "on conflict", "into"]);
const JOINS = new Set(["join", "inner", "left", "right", "full", "cross", "natural"]);
const CONDITIONS = new Set(["and", "or"]);

/** Shorter statements are read as they are. */
const SHORT = 64;

/** The tokens with other white space between them, or the same ones where lines are there already or there is nothing to gain. */
export function layOut(sql: string): Token[] {
  const tokens = lex(sql);
  const written = sql.trim();
  if (written.length <= SHORT || written.includes("\n")) return tokens;
  // A comment to the end of the line is the only token that a line break ends.
  if (tokens.some((token) => token.kind === "comment" && token.text.startsWith("--"))) return tokens;
  const laid: Token[] = [];
  let depth = 0;
  let between = false;
  let previous = "";
  for (const token of tokens) {
    const word = token.kind === "keyword" ? token.text.toLowerCase() : "";
    if (token.text === ")") depth -= 1;
    if (laid.length > 0 && breaksBefore(word, previous, between, depth)) {
      if (laid.at(-1)?.kind === "space") laid.pop();
      laid.push({ kind: "space", text: `\n${CONDITIONS.has(word) ? "  " : ""}` });
    }
    if (word === "between") between = true;
    if (word === "and") between = false;
    if (token.text === "(") depth += 1;
    laid.push(token);
    if (token.text === ";" && depth === 0) laid.push({ kind: "space", text: "\n" });
    if (token.kind !== "space" && token.kind !== "comment") previous = word || token.text;
  }
  return laid.filter((token, at) => !(token.kind === "space" && laid[at - 1]?.kind === "space" && laid[at - 1]?.text === "\n"));
}

function breaksBefore(word: string, previous: string, between: boolean, depth: number): boolean {
  if (depth !== 0) return false;
  if (CONDITIONS.has(word)) return !(word === "and" && between);
  // `delete from`, `insert into`, `is distinct from`, `do update set` and the like are one word in two.
  if (word === "from") return previous !== "delete" && previous !== "distinct";
  if (word === "into") return false;
  if (word === "set") return previous !== "update" && previous !== "do";
  if (JOINS.has(word)) return !JOINS.has(previous) && previous !== "outer";
  return CLAUSES.has(word);
}
