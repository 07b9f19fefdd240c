// Proofs of ledger entries, checked in this browser. The ledger's key is remembered at first sight; another one later is an alarm, not a change.
import { queryOptions } from "@tanstack/react-query";
import { canonical, hex, type Json } from "../proof/canonical";
import { NotProven, openCheckpoint, parseKey, verifyProof, type Checkpoint, type Proven } from "../proof/ledger";
import { checkExtends, tilePath } from "../proof/consistency";
import { answer, api, Problem, Unreachable, type LedgerLine } from "./client";

const REMEMBERED = "safeconduct-ledger";

interface Remembered {
  key: string;
  size: number;
  root: string;
}

function remembered(): Remembered | undefined {
  try {
    return JSON.parse(localStorage.getItem(REMEMBERED) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

async function pinnedKey(): Promise<string> {
  const known = remembered();
  const { key } = await answer(api.GET("/api/v1/ledger/key"));
  if (known && known.key !== key) throw new NotProven(`the ledger's key is not the one that this browser saw first (${known.key})`);
  if (!known) localStorage.setItem(REMEMBERED, JSON.stringify({ key, size: 0, root: "" } satisfies Remembered));
  return key;
}

const unhex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

async function readTile(level: number, index: number, width: number) {
  const response = await fetch(`/api/v1/ledger/tile/${tilePath(level, index, width)}`);
  if (!response.ok) throw new Unreachable();
  const bytes = new Uint8Array(await response.arrayBuffer());
  return Array.from({ length: bytes.length / 32 }, (_, at) => bytes.slice(at * 32, at * 32 + 32));
}

let remembering: Promise<unknown> = Promise.resolve();

/** The newest checkpoint stays in mind; how many entries the one before had. A ledger that does not extend it, or that it does not extend, was rewritten. */
function remember(key: string, checkpoint: Checkpoint): Promise<number | undefined> {
  // One after the other: proofs come by the dozen, and mostly lead to the same checkpoint.
  const done = remembering.then(async () => {
    const known = remembered();
    const root = hex(checkpoint.root);
    const before = known && known.size > 0 ? known.size : undefined;
    if (known && before !== undefined) {
      if (known.size === checkpoint.size && known.root === root) return before;
      const seen = { origin: checkpoint.origin, size: known.size, root: unhex(known.root) };
      const [older, newer] = seen.size <= checkpoint.size ? [seen, checkpoint] : [checkpoint, seen];
      await checkExtends(older, newer, readTile);
      if (newer === seen) return before;
    }
    localStorage.setItem(REMEMBERED, JSON.stringify({ key, size: checkpoint.size, root } satisfies Remembered));
    return before;
  });
  remembering = done.catch(() => undefined);
  return done;
}

/** What has no such form proves nothing, either; only a browser that can't try has not tried. */
async function wellFormed<T>(check: Promise<T>): Promise<T> {
  try {
    return await check;
  } catch (error) {
    if (error instanceof NotProven || (error instanceof DOMException && error.name === "NotSupportedError")) throw error;
    throw new NotProven(`the proof has no such form: ${error instanceof Error ? error.message : "unreadable"}`);
  }
}

const verify = (...[file, key, body]: [string, string, { key: string; text: string } | undefined]): Promise<Proven> => wellFormed(parseKey(key).then((known) => verifyProof(file, known, body)));

/** The newest checkpoint, its signature checked, and how many entries the ledger had when this browser saw it last: it holds them unchanged. */
export const newestCheckpoint = queryOptions({
  queryKey: ["checkpoint"],
  queryFn: async (): Promise<{ checkpoint: Checkpoint; seen: number | undefined }> => {
    const key = await pinnedKey();
    const note = await answer(api.GET("/api/v1/ledger/checkpoint", { parseAs: "text" }));
    const checkpoint = await wellFormed(parseKey(key).then((known) => openCheckpoint(note, known)));
    return { checkpoint, seen: await remember(key, checkpoint) };
  },
  staleTime: 0,
  refetchInterval: 15_000,
  retry: (failures, error) => !(error instanceof Problem) && !(error instanceof NotProven) && failures < 2,
});

/** Proof that what a line shows is what the ledger holds. */
export const proofOf = (line: LedgerLine) =>
  queryOptions({
    queryKey: ["proof", line.index, line.stream, line.kind],
    queryFn: async (): Promise<Proven> => {
      const key = await pinnedKey();
      const proof = await answer(api.GET("/api/v1/ledger/proof/{index}", { params: { path: { index: line.index } } }));
      const body = proof.key != null && proof.body != null ? { key: proof.key, text: proof.body } : undefined;
      const proven = await verify(proof.proof, key, body);
      const { entry } = proven;
      if (entry.index !== line.index || entry.stream !== line.stream || entry.version !== line.version) throw new NotProven("the proof is of another entry");
      if (Math.floor(entry.at / 1000) !== Date.parse(line.at)) throw new NotProven("the entry is of another time than what is shown");
      if (line.event !== undefined && line.event !== null) {
        if (entry.type !== line.kind) throw new NotProven("the entry is of another kind than what is shown");
        if (!proven.body || canonical(proven.body) !== canonical(line.event as unknown as Json)) throw new NotProven("what is shown is not what the entry commits to");
      }
      await remember(key, proven.checkpoint);
      return proven;
    },
    staleTime: Infinity,
    gcTime: 10 * 60_000,
    // A checkpoint comes within a second of the entry.
    retry: (count, error) => error instanceof Problem && error.code === "LEDGER-001" && count < 8,
    retryDelay: 700,
  });
