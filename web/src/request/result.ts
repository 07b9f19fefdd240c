// The results of an exact action, as the gateway streams them: what came is kept up to a bound, and what is beyond it is counted.
import { useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import type { components } from "../api/schema";

type Line = components["schemas"]["ResultLine"];
export type Outcome = components["schemas"]["Outcome"];
export type Row = readonly (string | null)[];

/** Rows and characters that a page keeps. The rest is counted, and said to be. */
const MOST_ROWS = 100_000;
const MOST_CHARACTERS = 50_000_000;

/** What one statement of the text gave back. */
export interface RowSet {
  columns: string[];
  rows: Row[];
  /** Rows that came and are not kept. */
  more: number;
}

export interface Result {
  sets: RowSet[];
  notes: string[];
  characters: number;
  /** How it ended, in words. */
  end?: string;
  outcome?: Outcome["outcome"];
}

export const nothing = (): Result => ({ sets: [], notes: [], characters: 0 });

/** Takes in one line of the answer. */
export function take(so: Result, line: Line) {
  const set = so.sets.at(-1);
  switch (line.part) {
    case "columns":
      so.sets.push({ columns: line.names, rows: [], more: 0 });
      break;
    case "row": {
      if (!set) break;
      const values = line.values as (string | null)[];
      const size = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
      // Once something was left out everything after it is: what is kept has no holes.
      if (set.more > 0 || set.rows.length >= MOST_ROWS || so.characters + size > MOST_CHARACTERS) set.more += 1;
      else {
        set.rows.push(values);
        so.characters += size;
      }
      break;
    }
    case "notice":
      so.notes.push(`${line.severity}: ${line.message}`);
      break;
    case "error":
      so.notes.push(`${line.sqlstate}: ${line.message}`);
      break;
    case "complete":
      so.notes.push(line.command);
      break;
    case "outcome":
      so.outcome = line.result.outcome;
      so.end = line.result.outcome.replaceAll("_", " ");
      break;
    case "problem":
      so.end = line.problem.detail;
  }
}

/** Whole lines, as many at a time as came at once. */
export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string[]> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value, { stream: !done });
    const whole = rest.split("\n");
    rest = whole.pop() ?? "";
    const full = whole.filter((line) => line !== "");
    if (full.length > 0) yield full;
    if (done) return;
  }
}

/** Runs approved exact actions, each once: the gateway runs what is stored and not what a page sends. */
export function useRun() {
  const [result, setResult] = useState<Result>();
  const [running, setRunning] = useState(false);
  const latest = useRef(0);
  const queries = useQueryClient();
  const run = async (id: string) => {
    const mine = (latest.current += 1);
    const so = nothing();
    const show = () => mine === latest.current && setResult({ ...so });
    setRunning(true);
    try {
      const response = await fetch(`/api/v1/access-requests/${id}/execute`, { method: "POST", headers: { "x-safeconduct-page": "1" } });
      if (!response.ok || !response.body) {
        const problem = (await response.json()) as { detail?: string };
        so.end = problem.detail ?? `the gateway answered ${response.status}`;
      } else {
        for await (const some of lines(response.body)) {
          for (const line of some) take(so, JSON.parse(line) as Line);
          show();
        }
        so.end ??= BROKEN;
      }
    } catch {
      so.end = BROKEN;
    }
    show();
    if (mine === latest.current) setRunning(false);
    void queries.invalidateQueries({ queryKey: ["access"] });
  };
  /** Takes the result off the page. */
  const clear = () => {
    latest.current += 1;
    setRunning(false);
    setResult(undefined);
  };
  return { result, running, run, clear };
}

const BROKEN = "the line to the gateway broke: how it ended is in what happened to the access request";

/** RFC 4180, every value as it came. NULL is nothing at all, an empty text is `""`. */
export function csv({ columns, rows }: Pick<RowSet, "columns" | "rows">): string {
  const quoted = (value: string) => `"${value.replaceAll('"', '""')}"`;
  const line = (values: Row) => values.map((value) => (value === null ? "" : quoted(value))).join(",");
  return [line(columns), ...rows.map(line)].map((each) => `${each}\r\n`).join("");
}
