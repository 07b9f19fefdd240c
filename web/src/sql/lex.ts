// Splits PostgreSQL text into tokens by the server's lexical rules, for colour and layout only. Understands nothing: facts come from the
// gateway. Every character of the text is in exactly one token, in order; a test holds that for any text.

export type Kind = "space" | "comment" | "string" | "name" | "word" | "keyword" | "number" | "parameter" | "operator";

export interface Token {
  kind: Kind;
  text: string;
}

const KEYWORDS = new Set(
  `all alter analyze and any array as asc begin between by call cascade case cast check collate column commit concurrently conflict constraint
copy create cross cube current_date current_timestamp current_user database declare default deferrable delete desc distinct do domain drop
else end escape except exclude execute exists explain extension false fetch filter first for force foreign from full function grant group
having if ilike in index inner insert intersect interval into is isnull join key language lateral left like limit listen local lock match
materialized merge natural next not nothing notify notnull null nulls of offset on only or order outer over partition policy prepare primary
privileges procedure references refresh release rename reset restrict returning revoke right role rollback row rows savepoint schema security
select sequence session set share show similar some start table tablesample temp temporary then to transaction trigger true truncate type
union unique unlogged until update user using vacuum values view volatile when where window with within without`
    .split(/\s+/),
);

const SPACE = /[\s]+/y;
const LINE_COMMENT = /--[^\n\r]*/y;
const WORD = /[\p{L}_\u0080-\uffff][\p{L}\p{N}_$\u0080-\uffff]*/uy;
const NUMBER = /(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)/y;
const PARAMETER = /\$[0-9]+/y;
const DOLLAR = /\$(?:[\p{L}_\u0080-\uffff][\p{L}\p{N}_\u0080-\uffff]*)?\$/uy;
const QUOTED_NAME = /(?:[uU]&)?"(?:[^"]|"")*(?:"|$)/y;
const STRING = /(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|$)/y;
const ESCAPE_STRING = /[eE]'(?:[^'\\]|''|\\[\s\S])*(?:'|\\?$)/y;

export function lex(sql: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const matches = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(sql)?.[0];
  };
  const push = (kind: Kind, text: string) => {
    tokens.push({ kind, text });
    at += text.length;
  };
  while (at < sql.length) {
    let text: string | undefined;
    if ((text = matches(SPACE))) push("space", text);
    else if ((text = matches(LINE_COMMENT))) push("comment", text);
    else if (sql.startsWith("/*", at)) push("comment", blockComment(sql, at));
    else if ((text = matches(ESCAPE_STRING) ?? matches(STRING))) push("string", text);
    else if ((text = matches(QUOTED_NAME))) push("name", text);
    else if ((text = matches(PARAMETER))) push("parameter", text);
    else if ((text = matches(DOLLAR))) {
      const end = sql.indexOf(text, at + text.length);
      push("string", end < 0 ? sql.slice(at) : sql.slice(at, end + text.length));
    } else if ((text = matches(NUMBER))) push("number", text);
    else if ((text = matches(WORD))) push(KEYWORDS.has(text.toLowerCase()) ? "keyword" : "word", text);
    else push("operator", String.fromCodePoint(sql.codePointAt(at) as number));
  }
  return tokens;
}

/** Comments nest, as the standard says and PostgreSQL does. */
function blockComment(sql: string, from: number): string {
  let depth = 0;
  let at = from;
  while (at < sql.length) {
    if (sql.startsWith("/*", at)) {
      depth += 1;
      at += 2;
    } else if (sql.startsWith("*/", at)) {
      depth -= 1;
      at += 2;
      if (depth === 0) break;
    } else {
      at += 1;
    }
  }
  return sql.slice(from, at);
}
