// Everything that happened to an access request, each event with its place in the ledger and a proof that this browser works out.
import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import type { LedgerLine } from "../api/client";
import { Problem } from "../api/client";
import { proofOf } from "../api/proofs";
import { hex, type Json } from "../proof/canonical";
import { NotProven } from "../proof/ledger";
import { Dialog } from "../ui/feedback";
import { Shown } from "../ui/text";
import { At, clockTime, fromMicros } from "../ui/time";

type Said = { title: string; detail?: ReactNode; tone: "good" | "bad" | "warn" | "" };
type Event = Record<string, Json>;

export function Timeline({ lines }: { lines: LedgerLine[] }) {
  return (
    <ol className="timeline">
      {lines.map((line) => {
        const said = say(line);
        return (
          <li key={line.index} className={said.tone}>
            <At at={line.at} />
            <span className="strong">{said.title}</span>
            <ProofBadge line={line} />
            {said.detail && <div className="detail quiet">{said.detail}</div>}
          </li>
        );
      })}
    </ol>
  );
}

const text = (value: Json | undefined) => (typeof value === "string" ? value : JSON.stringify(value));
const when = (value: Json | undefined) => (typeof value === "number" ? clockTime(fromMicros(value)) : "");
const quoted = (value: Json | undefined) => (value == null || value === "" ? undefined : <>“<Shown text={text(value)} />”</>);
const actor = (value: Json | undefined) => {
  const by = value as Event | undefined;
  return by?.name ? text(by.name) : `the gateway (${text(by?.cause)})`;
};
const evidence = (value: Json | undefined) => {
  const proof = value as Event | undefined;
  if (proof?.evidence === "signed") return "signed with a key of theirs";
  const how = proof?.method === "oidc" ? "an identity provider" : text(proof?.method);
  return proof?.method ? `signed in by ${how} from ${text(proof.source)}` : undefined;
};

/** An event in words. What is not known here is shown as it is. */
function say(line: LedgerLine): Said {
  const event = (line.event ?? {}) as unknown as Event;
  if (!line.event) return { title: "erased", detail: "what happened was erased; that it happened stays provable", tone: "" };
  switch (event.type) {
    case "submitted": return { title: "asked", tone: "" };
    case "refused_by_policy": return { title: "refused by policy", tone: "bad" };
    case "approved": {
      const approval = event.approval as Event;
      return {
        title: `approved by ${text(approval.approver)}`,
        detail: <>{quoted(approval.comment)} {evidence(approval.evidence)}; for the digest <span className="mono"><Shown text={text(approval.digest).slice(0, 23)} />…</span></>,
        tone: "good",
      };
    }
    case "approval_lapsed": return { title: `the approval of ${text(event.approver)} stopped counting`, detail: <Shown text={text(event.why)} />, tone: "warn" };
    case "denied": return { title: `denied by ${text(event.by)}`, detail: quoted(event.comment), tone: "bad" };
    case "withdrawn": return { title: "withdrawn", detail: `by ${actor(event.by)}: ${text(event.why).replaceAll("_", " ")}`, tone: "" };
    case "lapsed": return { title: "nobody decided in time", tone: "" };
    case "approvals_voided": return { title: "policy changed: approvals are void", tone: "warn" };
    case "rejudged": return { title: "policy changed: the same answer", tone: "" };
    case "granted": return { title: "granted", detail: `as ${text(event.grant)}`, tone: "good" };
    case "activated": return { title: "started", detail: `ends at ${when(event.until)}`, tone: "good" };
    case "extended": return { title: "made longer", detail: `until ${when(event.until)}, by ${text(event.by)}`, tone: "good" };
    case "applied": return { title: "applied", tone: "good" };
    case "released": return { title: `given back by ${text(event.by)}`, tone: "" };
    case "revoked": return { title: `revoked by ${actor(event.by)}`, detail: quoted(event.reason), tone: "bad" };
    case "expired": return { title: "ended on time", tone: "" };
    case "claimed": return { title: "taken up to run, once", tone: "warn" };
    case "stop_requested": return { title: `stop asked for by ${actor(event.by)}`, detail: quoted(event.reason), tone: "warn" };
    case "settled": return settled(event.outcome as Event);
    case "opened": return { title: "a session was opened", detail: <>from <Shown text={text(event.source)} /> on <Shown text={text(event.database)} /></>, tone: "good" };
    case "grants_joined": return { title: "an open session took it up", detail: <span className="mono"><Shown text={(event.grants as string[]).join(", ")} /></span>, tone: "good" };
    case "action_refused": return { title: "an action was refused in it", detail: <Shown text={text(event.why)} />, tone: "bad" };
    case "credential_intended": return { title: "a login role is about to be made", detail: <span className="mono"><Shown text={text(event.role)} /></span>, tone: "" };
    case "credential_minted": return { title: "its login role was made", detail: <span className="mono"><Shown text={text(event.role)} /></span>, tone: "" };
    case "credential_retired": return { title: "its login role is proved retired", detail: <span className="mono"><Shown text={text(event.role)} /></span>, tone: "good" };
    case "recording_lost": return { title: "part of its recording was lost", detail: <Shown text={text(event.why)} />, tone: "bad" };
    case "closed": return { title: "the session was closed", detail: <><Shown text={text(event.why)} />; {text(event.statements)} statements</>, tone: "" };
    case "ended": return { title: "over: sessions cut, nothing it gave is left", tone: "" };
    default: return { title: line.kind.replaceAll("_", " "), tone: "" };
  }
}

function settled(outcome: Event): Said {
  switch (outcome.outcome) {
    case "executed": return { title: "ran", detail: `${text(outcome.command)}${outcome.rows == null ? "" : `, ${text(outcome.rows)} rows`}; ${text(outcome.transaction).replaceAll("_", " ")}`, tone: "good" };
    case "failed": return { title: "failed in the database", detail: <><span className="mono">{text(outcome.sqlstate)}</span> <Shown text={text(outcome.message)} /></>, tone: "bad" };
    case "refused_not_run": return { title: "refused, not run", detail: <Shown text={text(outcome.why)} />, tone: "bad" };
    default: return { title: "outcome unknown", detail: <Shown text={text(outcome.why)} />, tone: "warn" };
  }
}

const SHIELD = "M7 1 2.2 2.8v3.7c0 3 2 5.3 4.8 6.5 2.8-1.2 4.8-3.5 4.8-6.5V2.8z";

export function ProofBadge({ line }: { line: LedgerLine }) {
  const { data, error, isPending } = useQuery(proofOf(line));
  const [open, setOpen] = useState(false);
  const waiting = isPending || (error instanceof Problem && error.code === "LEDGER-001");
  // A browser without Ed25519, or a line that is down, says nothing about the ledger.
  const unable = error && !waiting && !(error instanceof NotProven);
  const failed = error && !waiting && !unable;
  const word = waiting ? "proving" : unable ? "not checked" : failed ? "not proved" : "proved";
  return (
    <>
      <button type="button" className={`proof ${data ? "good" : failed ? "bad" : ""}`} data-proof={word} onClick={() => setOpen(true)} aria-label={`ledger entry ${line.index}: ${word}`}>
        #{line.index}
        <svg viewBox="0 0 14 14" aria-hidden="true">
          <path d={SHIELD} fill="none" stroke="currentColor" strokeWidth="1.4" strokeDasharray={waiting || unable ? "2 1.5" : undefined} />
          {data && <path d="m4.6 7 1.8 1.8 3-3.4" fill="none" stroke="currentColor" strokeWidth="1.5" />}
          {failed && <path d="m5 5 4 4M9 5 5 9" fill="none" stroke="currentColor" strokeWidth="1.5" />}
        </svg>
        {word}
      </button>
      {open && (
        <Dialog title={`Ledger entry ${line.index}`} onClose={() => setOpen(false)}>
          {failed && (
            <div className="note bad">
              <strong>Not proved.</strong> <Shown text={error.message} />
            </div>
          )}
          {unable && (
            <div className="note warn">
              <strong>Not checked.</strong> {error.name === "NotSupportedError" ? "This browser lacks Ed25519 signatures; one of 2025 or newer has them." : <Shown text={error.message} />}
            </div>
          )}
          {waiting && <p>No signed checkpoint covers it yet. One comes at least every second.</p>}
          {data && (
            <>
              <p>Worked out in this browser, from the specification and nothing the gateway says about itself:</p>
              <ul className="stack">
                <li>✓ what is shown here is what the entry commits to{data.body ? "" : " (its content was erased)"}</li>
                <li>✓ the entry is number {data.entry.index} of the ledger’s tree of {data.checkpoint.size.toLocaleString()} entries</li>
                <li>✓ that tree is signed by <span className="mono">{data.checkpoint.origin}</span>, with the key this browser saw first</li>
                <li>✓ and it holds, unchanged, all of the ledger that this browser saw before</li>
              </ul>
              <dl className="facts">
                <dt>kind</dt>
                <dd className="mono">{data.entry.type}</dd>
                <dt>stream</dt>
                <dd className="mono">
                  {data.entry.stream}, event {data.entry.version}
                </dd>
                <dt>at</dt>
                <dd className="mono">{fromMicros(data.entry.at)}</dd>
                <dt>root</dt>
                <dd className="digest">{hex(data.checkpoint.root)}</dd>
              </dl>
            </>
          )}
          <div className="end">
            <button type="button" className="button" onClick={() => setOpen(false)}>
              Close
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
