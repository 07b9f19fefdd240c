// One access request: what it is, everything that happened to it with proofs, and what the viewer may do about it.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { answer, api, once, Problem, type AccessRequest } from "../api/client";
import { accessRequest, whoami } from "../api/queries";
import { Decide, useDeciding } from "../request/Decide";
import { OneTimeSecret } from "../request/OneTimeSecret";
import { Request } from "../request/Request";
import { Timeline } from "../request/Timeline";
import { RunOnce } from "../request/RunOnce";
import { Used } from "../request/Used";
import { useTitle } from "../shell/Shell";
import { Dialog, Empty, Failed, toast, Wait } from "../ui/feedback";
import { useKeys } from "../ui/keys";

const route = getRouteApi("/signed-in/access-requests/$id");

export default function AccessRequestPage() {
  const { id } = route.useParams();
  useTitle(id);
  const { data, error, isPending, refetch } = useQuery(accessRequest(id));
  const deciding = useDeciding(id);
  const decidable = data?.may_approve && data.state === "pending";
  useKeys({ a: () => decidable && deciding.open("approve"), d: () => decidable && deciding.open("deny") });
  if (isPending) return <Wait lines={8} />;
  if (error && !data)
    return error instanceof Problem && [400, 404].includes(error.status) ? (
      <Empty title="Nothing to see here">
        <p>There is no access request {id}, or it is not yours to know of.</p>
        <Link to="/" className="button">
          Home
        </Link>
      </Empty>
    ) : (
      <Failed error={error} retry={() => void refetch()} />
    );
  return (
    <div className="pair" key={id}>
      <article className="card" aria-label={`access request ${id}`}>
        <Request request={data} />
        <RunOnce request={data} />
        <OneTimeSecret request={data} />
        <Decide request={data} deciding={deciding} />
        <Mine request={data} />
      </article>
      <section className="card section" aria-label="what happened">
        <h2>What happened</h2>
        <Timeline lines={data.history} />
        <Used request={data} />
      </section>
    </div>
  );
}

const LIVE = ["active", "ready", "scheduled"];

/** Taking back, giving back, ending: never waits for anybody's approval. */
function Mine({ request }: { request: AccessRequest }) {
  const { data: who } = useQuery(whoami);
  const [revoking, setRevoking] = useState(false);
  const [reason, setReason] = useState("");
  const queries = useQueryClient();
  const mine = who?.name === request.requester;
  const live = LIVE.includes(request.state);
  const act = useMutation({
    mutationFn: (what: "cancel" | "release" | "revoke") => {
      const options = { headers: once() };
      if (what === "cancel") return answer(api.POST("/api/v1/access-requests/{id}/cancel", { params: { path: { id: request.id } }, ...options }));
      const params = { path: { id: request.grant } };
      if (what === "release") return answer(api.POST("/api/v1/grants/{id}/release", { params, ...options }));
      return answer(api.POST("/api/v1/grants/{id}/revoke", { params, body: { reason: reason.trim() }, ...options }));
    },
    onSuccess: (_, what) => {
      setRevoking(false);
      toast({ cancel: "Taken back", release: "Given back", revoke: "Revoked" }[what]);
      void queries.invalidateQueries({ queryKey: ["access"] });
    },
  });
  if (!(mine && live) && !request.may_revoke && !(mine && request.state === "pending")) return null;
  return (
    <div className="section">
      <div className="row">
        {mine && request.state === "pending" && (
          <button type="button" className="button" disabled={act.isPending} onClick={() => act.mutate("cancel")}>
            Take it back
          </button>
        )}
        {mine && live && (
          <button type="button" className="button" disabled={act.isPending} onClick={() => act.mutate("release")}>
            Give it back
          </button>
        )}
        {!mine && request.may_revoke && (
          <button type="button" className="button danger" onClick={() => setRevoking(true)}>
            Revoke…
          </button>
        )}
      </div>
      {act.error && !revoking && <Failed error={act.error} />}
      {revoking && (
        <Dialog title="Revoke this grant?" onClose={() => setRevoking(false)}>
          <form
            className="stack"
            onSubmit={(event) => {
              event.preventDefault();
              act.mutate("revoke");
            }}
          >
            <p>Its sessions are cut at once: statements cancelled, connections closed.</p>
            <label className="field">
              <span>Why</span>
              <input className="input" required value={reason} autoFocus maxLength={2000} onChange={(event) => setReason(event.target.value)} autoComplete="off" />
            </label>
            {act.error && <Failed error={act.error} />}
            <div className="end">
              <button type="button" className="button" onClick={() => setRevoking(false)}>
                Not now
              </button>
              <button type="submit" className="button danger first" disabled={act.isPending || reason.trim() === ""}>
                Revoke
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </div>
  );
}
