// Running an approved exact action: once, by the gateway, which runs what is stored and not what a page sends.
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useQuery } from "@tanstack/react-query";
import type { components } from "../api/schema";
import type { AccessRequest } from "../api/client";
import { whoami } from "../api/queries";
import { State } from "../ui/state";
import { Shown } from "../ui/text";
import { envelopeOf } from "./envelope";

type Line = components["schemas"]["ResultLine"];

/** Rows kept in the page; the rest is counted, and said to be. */
const ROWS = 500;

interface Result {
  columns: string[];
  rows: (string | null)[][];
  more: number;
  notes: string[];
  end?: string;
}

export function RunOnce({ request }: { request: AccessRequest }) {
  const { data: who } = useQuery(whoami);
  const [result, setResult] = useState<Result>();
  const [running, setRunning] = useState(false);
  const queries = useQueryClient();
  const envelope = envelopeOf(request);
  const may = request.state === "ready" && envelope.origin.origin !== "held" && who?.name === request.requester && envelope.scope.scope === "exact" && envelope.scope.action.kind === "sql";
  if (!may && !result) return null;
  const run = async () => {
    setRunning(true);
    const so: Result = { columns: [], rows: [], more: 0, notes: [] };
    try {
      const response = await fetch(`/api/v1/access-requests/${request.id}/execute`, { method: "POST", headers: { "x-safeconduct-page": "1" } });
      if (!response.ok || !response.body) {
        const problem = (await response.json()) as { detail?: string };
        so.end = problem.detail ?? `the gateway answered ${response.status}`;
      } else {
        for await (const line of lines(response.body)) {
          take(so, JSON.parse(line) as Line);
          setResult({ ...so });
        }
      }
    } catch {
      so.end = "the line to the gateway broke: how it ended is in what happened, below";
    }
    setResult({ ...so });
    setRunning(false);
    void queries.invalidateQueries({ queryKey: ["access"] });
  };
  return (
    <section className="section">
      <h2>Result</h2>
      {may && !result && (
        <div className="row">
          <button type="button" className="button first" disabled={running} onClick={() => void run()}>
            Run it now, once
          </button>
          <span className="hint">What was approved runs; it can’t be run a second time.</span>
        </div>
      )}
      {result && (
        <>
          {result.columns.length > 0 && (
            <div className="scroll">
              <table className="table">
                <thead>
                  <tr>
                    {result.columns.map((name, at) => (
                      <th key={at}>
                        <Shown text={name} />
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {result.rows.map((row, at) => (
                    <tr key={at}>
                      {row.map((value, column) => (
                        <td key={column} className="mono">
                          {value === null ? <em className="quiet">NULL</em> : <Shown text={value} />}
                        </td>
                      ))}
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          {result.more > 0 && <p className="hint">{result.more} more rows are not shown; `safeconduct run` prints all.</p>}
          {result.notes.map((note, at) => (
            <p key={at} className="mono">
              <Shown text={note} />
            </p>
          ))}
          {result.end ? <p className="note"><Shown text={result.end} /></p> : <State of="claimed" />}
        </>
      )}
    </section>
  );
}

function take(so: Result, line: Line) {
  switch (line.part) {
    case "columns":
      so.columns = line.names;
      break;
    case "row":
      if (so.rows.length < ROWS) so.rows = [...so.rows, line.values as (string | null)[]];
      else so.more += 1;
      break;
    case "notice":
      so.notes = [...so.notes, `${line.severity}: ${line.message}`];
      break;
    case "error":
      so.notes = [...so.notes, `${line.sqlstate}: ${line.message}`];
      break;
    case "complete":
      so.notes = [...so.notes, line.command];
      break;
    case "outcome":
      so.end = line.result.outcome.replaceAll("_", " ");
      break;
    case "problem":
      so.end = line.problem.detail;
  }
}

async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value, { stream: !done });
    const whole = rest.split("\n");
    rest = whole.pop() ?? "";
    for (const line of whole) if (line) yield line;
    if (done) return;
  }
}
