// Proofs of ledger entries, checked in this browser. The ledger's key is remembered at first sight; another one later is an alarm, not a change.
import { queryOptions } from "@tanstack/react-query";
import { canonical, hex, type Json } from "../proof/canonical";
import { NotProven, parseKey, verifyProof, type Checkpoint, type Proven } from "../proof/ledger";
import { answer, api, Problem, type LedgerLine } from "./client";

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

/** The newest checkpoint stays in mind: another tree of the same size is a fork. */
function remember(key: string, checkpoint: Checkpoint) {
  const known = remembered();
  const root = hex(checkpoint.root);
  if (known?.size === checkpoint.size && known.root !== "" && known.root !== root) throw new NotProven("the ledger was forked: this browser saw another one of the same size");
  if (!known || checkpoint.size > known.size) localStorage.setItem(REMEMBERED, JSON.stringify({ key, size: checkpoint.size, root } satisfies Remembered));
}

/** Proof that what a line shows is what the ledger holds. */
export const proofOf = (line: LedgerLine) =>
  queryOptions({
    queryKey: ["proof", line.index, line.stream, line.kind],
    queryFn: async (): Promise<Proven> => {
      const key = await pinnedKey();
      const proof = await answer(api.GET("/api/v1/ledger/proof/{index}", { params: { path: { index: line.index } } }));
      const body = proof.key != null && proof.body != null ? { key: proof.key, text: proof.body } : undefined;
      const proven = await verifyProof(proof.proof, await parseKey(key), body);
      const { entry } = proven;
      if (entry.index !== line.index || entry.stream !== line.stream || entry.version !== line.version) throw new NotProven("the proof is of another entry");
      if (Math.floor(entry.at / 1000) !== Date.parse(line.at)) throw new NotProven("the entry is of another time than what is shown");
      if (line.event !== undefined && line.event !== null) {
        if (entry.type !== line.kind) throw new NotProven("the entry is of another kind than what is shown");
        if (!proven.body || canonical(proven.body) !== canonical(line.event as unknown as Json)) throw new NotProven("what is shown is not what the entry commits to");
      }
      remember(key, proven.checkpoint);
      return proven;
    },
    staleTime: Infinity,
    gcTime: 10 * 60_000,
    // A checkpoint comes within a second of the entry.
    retry: (count, error) => error instanceof Problem && error.code === "LEDGER-001" && count < 8,
    retryDelay: 700,
  });
