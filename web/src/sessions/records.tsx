// What a recording holds, and how each of it looks.
import { Link } from "@tanstack/react-router";
import { Sql } from "../sql/Sql";
import { Operations, State } from "../ui/state";
import { Shown } from "../ui/text";

export interface Entry {
  n: number;
  at: string;
  what: string;
  text?: string;
  statement?: number;
  operations?: string;
  grant?: string;
  claimed?: string;
  parameters?: { shown: string | null }[];
  command?: string;
  rows?: number;
  sqlstate?: string;
  message?: string;
  duration_micros?: number;
  why?: string;
  how?: string;
  access_request?: string;
  source?: string;
}

export type Kind = "all" | "changes" | "held" | "errors";

const CHANGES = /write|ddl|admin|unknown|unrestricted|temp/;
export const isChange = (entry: Entry) => entry.what === "intent" && CHANGES.test(entry.operations ?? "");
export const isHeld = (entry: Entry) => entry.what === "held" || entry.what === "hold_ended";
export const isError = (entry: Entry, outcome: Entry | undefined) => entry.what === "refused" || (entry.what === "intent" && outcome?.sqlstate !== undefined);

export function matches(entry: Entry, only: Kind, outcomes: Map<number | undefined, Entry>): boolean {
  switch (only) {
    case "changes": return isChange(entry);
    case "held": return isHeld(entry);
    case "errors": return isError(entry, outcomes.get(entry.statement));
    default: return true;
  }
}

export function Row({ entry, outcome }: { entry: Entry; outcome: Entry | undefined }) {
  switch (entry.what) {
    case "intent":
      return (
        <div className="stack">
          <Sql text={entry.text ?? ""} plain />
          {(entry.parameters ?? []).length > 0 && (
            <p className="mono">
              {entry.parameters?.map((parameter, at) => (
                <span key={at}>
                  ${at + 1} = <Shown text={parameter.shown ?? "NULL"} />{" "}
                </span>
              ))}
            </p>
          )}
          <p className="row quiet">
            <Operations of={(entry.operations ?? "").split("+")} />
            {outcome ? <Outcome of={outcome} /> : <State of="unknown" />}
            {entry.claimed && (
              <Link to="/access-requests/$id" params={{ id: entry.claimed }} className="mono">
                {entry.claimed}
              </Link>
            )}
          </p>
        </div>
      );
    case "refused":
      return (
        <div className="stack">
          <Sql text={entry.text ?? ""} plain />
          <p className="row">
            <State of="refused_not_run" /> <span className="quiet"><Shown text={entry.why ?? ""} /></span>
          </p>
        </div>
      );
    case "held":
      return (
        <div className="stack">
          <Sql text={entry.text ?? ""} plain />
          <p className="row">
            <State of="held" />
            <Link to="/access-requests/$id" params={{ id: entry.access_request ?? "" }} className="mono">
              {entry.access_request}
            </Link>
          </p>
        </div>
      );
    case "hold_ended":
      return (
        <p>
          <span className="mono">{entry.access_request}</span>: <Shown text={entry.how ?? ""} />
        </p>
      );
    case "opened": return <p>opened</p>;
    case "closed": return <p>closed: <Shown text={entry.why ?? ""} /></p>;
    case "cancel_requested": return <p>the client asked to cancel</p>;
    default: return <p className="mono">{entry.what}</p>;
  }
}

function Outcome({ of }: { of: Entry }) {
  return (
    <>
      {of.sqlstate ? <State of="failed" /> : <State of="executed" />}
      <span className="mono">
        <Shown text={of.sqlstate ? `${of.sqlstate} ${of.message ?? ""}` : `${of.command ?? ""}`} />
      </span>
      <span>{((of.duration_micros ?? 0) / 1000).toFixed(1)} ms</span>
    </>
  );
}
