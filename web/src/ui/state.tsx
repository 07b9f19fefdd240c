// States: a shape and a word, and only then a colour.
import type { ReactNode } from "react";

type Tone = "good" | "warn" | "bad" | "";

const SHAPES: Record<string, ReactNode> = {
  // Waits: an open ring. Runs: a full disc. Done: a tick. Against: a cross in a square. Over: a bar.
  open: <circle cx="7" cy="7" r="5" fill="none" stroke="currentColor" strokeWidth="2" strokeDasharray="3.2 2" />,
  ready: (
    <>
      <circle cx="7" cy="7" r="5.5" fill="none" stroke="currentColor" strokeWidth="1.8" />
      <circle cx="7" cy="7" r="2" fill="currentColor" />
    </>
  ),
  full: <circle cx="7" cy="7" r="5.5" fill="currentColor" />,
  tick: <path d="M2 7.5 5.5 11 12 3.5" fill="none" stroke="currentColor" strokeWidth="2.2" strokeLinecap="round" strokeLinejoin="round" />,
  cross: <path d="M1.5 1.5h11v11h-11zM4.5 4.5l5 5M9.5 4.5l-5 5" fill="none" stroke="currentColor" strokeWidth="1.8" />,
  bar: <path d="M2 7h10" stroke="currentColor" strokeWidth="2.4" strokeLinecap="round" />,
};

const STATES: Record<string, [shape: string, word: string, tone: Tone]> = {
  pending: ["open", "waits", "warn"],
  scheduled: ["ready", "scheduled", "warn"],
  ready: ["ready", "ready to run", "good"],
  active: ["full", "active", "good"],
  claimed: ["full", "running", "warn"],
  settled: ["tick", "ran", "good"],
  applied: ["tick", "applied", "good"],
  refused: ["cross", "refused by policy", "bad"],
  denied: ["cross", "denied", "bad"],
  revoked: ["cross", "revoked", "bad"],
  withdrawn: ["bar", "withdrawn", ""],
  lapsed: ["bar", "lapsed", ""],
  released: ["bar", "given back", ""],
  expired: ["bar", "ended on time", ""],
  live: ["full", "live", "good"],
  closed: ["bar", "closed", ""],
  allow: ["tick", "allowed", "good"],
  need_approval: ["open", "needs approval", "warn"],
  deny: ["cross", "refused", "bad"],
  executed: ["tick", "done", "good"],
  failed: ["cross", "failed", "bad"],
  refused_not_run: ["cross", "refused, not run", "bad"],
  held: ["open", "held", "warn"],
  unknown: ["open", "outcome unknown", "warn"],
};

export function State({ of }: { of: string }) {
  const [shape, word, tone] = STATES[of] ?? ["open", of, ""];
  return (
    <span className={`state ${tone}`}>
      <Shape of={shape} />
      {word}
    </span>
  );
}

function Shape({ of }: { of: string }) {
  return (
    <svg viewBox="0 0 14 14" aria-hidden="true">
      {SHAPES[of]}
    </svg>
  );
}

/** Operations; those that change more stand out more. */
export function Operations({ of }: { of: string[] }) {
  return (
    <span className="row" role="list" aria-label="operations">
      {of
        .filter((operation) => operation !== "connect" || of.length === 1)
        .map((operation) => (
          <span key={operation} role="listitem" className={`chip ${["write", "ddl"].includes(operation) ? "strong" : ["admin", "unknown", "unrestricted"].includes(operation) ? "severe" : ""}`}>
            {operation}
          </span>
        ))}
    </span>
  );
}
