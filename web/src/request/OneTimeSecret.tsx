// The code or token that an approved change made: handed out once, to whoever asked for the change.
import { useMutation, useQuery } from "@tanstack/react-query";
import { answer, api, type AccessRequest } from "../api/client";
import { whoami } from "../api/queries";
import { Copy, Failed } from "../ui/feedback";
import { At } from "../ui/time";
import { envelopeOf } from "./envelope";

/** True if a change hands out a secret once it is made. */
export function handsOut(request: AccessRequest): boolean {
  const { scope } = envelopeOf(request);
  return scope.scope === "exact" && scope.action.kind === "administration" && ["create_person", "create_workload", "reset_secret"].includes(scope.action.change);
}

export function OneTimeSecret({ request }: { request: AccessRequest }) {
  const { data: who } = useQuery(whoami);
  const fetched = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/access-requests/{id}/one-time", { params: { path: { id: request.id } } })),
    gcTime: 0,
  });
  if (request.state !== "settled" || who?.name !== request.requester || !handsOut(request)) return null;
  const secret = fetched.data;
  return (
    <section className="section" aria-label="one-time secret">
      {secret ? (
        <>
          <h2>{secret.kind === "code" ? `One-time code for ${secret.name}` : `Token of ${secret.name}`}</h2>
          <div className="row">
            <code className="sql grow">{secret.secret}</code>
            <Copy text={secret.secret} />
          </div>
          <p className="hint">
            Good until <At at={secret.valid_until} />. It is not kept and not shown again.{" "}
            {secret.kind === "code" && "On the sign-in page, under “I have a one-time code”, they choose a password with it."}
          </p>
        </>
      ) : (
        <div className="row">
          <button type="button" className="button first" disabled={fetched.isPending} onClick={() => fetched.mutate()}>
            Show its secret, once
          </button>
          <span className="hint">Within a day of the change. Hand it over on a way you trust.</span>
        </div>
      )}
      {fetched.error && <Failed error={fetched.error} />}
    </section>
  );
}
