// Names to complete: those that a person used before, out of their own access requests. Nothing is asked of any database for them.
import type { AccessRequest } from "../api/client";
import { lex } from "./lex";

/** Plain names only: what would have to be quoted is typed. */
const PLAIN = /^[\p{L}_][\p{L}\p{N}_$]*(?:\.[\p{L}_][\p{L}\p{N}_$]*)?$/u;
const MOST = 500;

/** Objects, functions and words of statements on this resource, those used most first. */
export function namesSeen(requests: readonly AccessRequest[], resource: string): string[] {
  const seen = new Map<string, number>();
  const add = (name: string, weight: number) => {
    if (PLAIN.test(name) && name.length > 1) seen.set(name, (seen.get(name) ?? 0) + weight);
  };
  for (const request of requests) {
    if (request.resource !== resource) continue;
    for (const statement of request.facts?.statements ?? []) {
      for (const object of statement.objects) add(object.replace(/ \(.*\)$/, ""), 3);
      for (const called of statement.functions) add(called.replace(/\(.*\)$/, ""), 2);
    }
    const text = sqlOf(request);
    for (const token of text === undefined ? [] : lex(text)) if (token.kind === "word") add(token.text, 1);
  }
  return [...seen].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, MOST).map(([name]) => name);
}

/** The text of an access request for one exact statement. */
export function sqlOf(request: AccessRequest): string | undefined {
  const { scope } = request.envelope as unknown as { scope: { scope: string; action?: { kind: string; text?: string } } };
  return scope.scope === "exact" && scope.action?.kind === "sql" ? scope.action.text : undefined;
}
