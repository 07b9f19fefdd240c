// Asking the ledger: filters as the address has them, pages of what fits, and an export that follows the cursor to its end or to its bounds.
import { infiniteQueryOptions } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import type { components } from "../api/schema";
import { csv } from "../request/result";

export type Found = components["schemas"]["LedgerFound"];
export type FoundEntry = components["schemas"]["FoundEntry"];

/** What the address says. Days are those of UTC; the last one is within. */
export interface Filters {
  person?: string;
  resource?: string;
  kind?: string;
  from?: string;
  to?: string;
  text?: string;
}

const DAY_MS = 86_400_000;
const PAGE = 100;
/** Calls that one page makes while nothing fits. Each looks at 5,000 entries. */
const PATIENCE = 10;
/** What an export takes at most. */
export const MOST_ENTRIES = 10_000;
const MOST_CALLS = 250;

function ask(filters: Filters, before: number | undefined, limit: number): Promise<Found> {
  const { from, to, ...rest } = filters;
  const query = {
    ...rest,
    ...(from && { from: `${from}T00:00:00Z` }),
    ...(to && { to: new Date(Date.parse(`${to}T00:00:00Z`) + DAY_MS).toISOString() }),
    ...(before !== undefined && { before }),
    limit,
  };
  return answer(api.GET("/api/v1/ledger/search", { params: { query } }));
}

export const searching = (filters: Filters) =>
  infiniteQueryOptions({
    queryKey: ["ledger", filters],
    queryFn: async ({ pageParam, signal }): Promise<Found> => {
      let found = await ask(filters, pageParam, PAGE);
      let lookedAt = found.looked_at;
      for (let calls = 1; found.entries.length === 0 && found.next != null && calls < PATIENCE && !signal.aborted; calls += 1) {
        found = await ask(filters, found.next, PAGE);
        lookedAt += found.looked_at;
      }
      return { ...found, looked_at: lookedAt };
    },
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
  });

/** One entry by its number, whatever is filtered. */
export async function entryAt(index: number): Promise<FoundEntry | null> {
  const { entries } = await ask({}, index + 1, 1);
  return entries[0]?.index === index ? entries[0] : null;
}

export interface Exported {
  entries: FoundEntry[];
  /** False if there is more than was taken. */
  complete: boolean;
}

/** Everything that fits, newest first, up to the bounds. */
export async function exportAll(filters: Filters, progress: (entries: number) => void, signal: AbortSignal): Promise<Exported> {
  const entries: FoundEntry[] = [];
  let before: number | undefined;
  for (let calls = 0; calls < MOST_CALLS; calls += 1) {
    const found = await ask(filters, before, 200);
    signal.throwIfAborted();
    entries.push(...found.entries);
    progress(entries.length);
    if (entries.length > MOST_ENTRIES) return { entries: entries.slice(0, MOST_ENTRIES), complete: false };
    if (found.next == null) return { entries, complete: true };
    before = found.next;
  }
  return { entries, complete: false };
}

export const jsonLines = (entries: FoundEntry[]) => entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");

const COLUMNS = ["index", "at", "kind", "stream", "version", "who", "about", "resource", "summary", "event"];

/** No field begins with what a spreadsheet takes for a formula: names and kinds can't, summaries begin with the gateway's words, an event with a brace. */
export const asCsv = (entries: FoundEntry[]) =>
  csv({
    columns: COLUMNS,
    rows: entries.map((entry) => [
      String(entry.index), entry.at, entry.kind, entry.stream, String(entry.version), entry.who ?? null, entry.about ?? null, entry.resource ?? null, entry.summary, entry.event ? JSON.stringify(entry.event) : null,
    ]),
  });
