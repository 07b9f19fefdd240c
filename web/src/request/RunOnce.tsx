// Running an approved exact action from its own page: once, by the gateway, which runs what is stored and not what a page sends.
import { useQuery } from "@tanstack/react-query";
import type { AccessRequest } from "../api/client";
import { whoami } from "../api/queries";
import { envelopeOf } from "./envelope";
import { useRun } from "./result";
import { Results } from "./ResultTable";

export function RunOnce({ request }: { request: AccessRequest }) {
  const { data: who } = useQuery(whoami);
  const { result, running, run } = useRun();
  const envelope = envelopeOf(request);
  const may = request.state === "ready" && envelope.origin.origin !== "held" && who?.name === request.requester && envelope.scope.scope === "exact" && envelope.scope.action.kind === "sql";
  if (!may && !result) return null;
  return (
    <section className="section">
      <h2>Result</h2>
      {may && !result && (
        <div className="row">
          <button type="button" className="button first" disabled={running} onClick={() => void run(request.id)}>
            Run it now, once
          </button>
          <span className="hint">What was approved runs; it can’t be run a second time.</span>
        </div>
      )}
      {result && <Results of={result} name={request.id} running={running} />}
    </section>
  );
}
