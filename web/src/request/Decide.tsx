// Approving and denying: a write that names the digest of what is shown, after a second look. No link, key or page load does it alone.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { answer, api, type AccessRequest } from "../api/client";
import { useLine } from "../api/live";
import { useOnce } from "../api/once";
import { Sql } from "../sql/Sql";
import { Dialog, Failed, toast } from "../ui/feedback";
import { Shown } from "../ui/text";
import { changeText, duration, envelopeOf, useChecked } from "./envelope";

export type Verdict = "approve" | "deny";

interface Props {
  request: AccessRequest;
  deciding: Deciding;
}

/** Which dialog is open, and for which access request: it never goes over to another that takes its place. */
export function useDeciding(id: string | undefined) {
  const [of, setOf] = useState<{ id: string; verdict: Verdict }>();
  return {
    verdict: of && of.id === id ? of.verdict : undefined,
    open: (verdict: Verdict | undefined) => setOf(verdict && id ? { id, verdict } : undefined),
  };
}

type Deciding = ReturnType<typeof useDeciding>;

export function Decide({ request, deciding: { verdict, open } }: Props) {
  const { same } = useChecked(request);
  const line = useLine();
  const over = line.up === false;
  // Signing is done on a page of its own that does nothing else: /sign.
  const signs = request.level === "signed" || request.level === "passkey";
  const byKey = signs && verdict === "approve";
  useEffect(() => {
    if (byKey) location.assign(`/sign/${request.id}`);
  }, [byKey, request.id]);
  if (request.state !== "pending" || !request.may_approve) return null;
  return (
    <>
      <div className="decide">
        {signs ? (
          <a className="button first" href={`/sign/${request.id}`} aria-disabled={over}>
            Approve, signed…
          </a>
        ) : (
          <button type="button" className="button first" disabled={!same || over} onClick={() => open("approve")}>
            Approve… <kbd className="keys">a</kbd>
          </button>
        )}
        <button type="button" className="button danger" disabled={over} onClick={() => open("deny")}>
          Deny… <kbd className="keys">d</kbd>
        </button>
        <span className="hint extra">{over ? "Deciding waits for the line to the gateway." : signs ? "An approval of this takes your signature; one denial settles it." : "One denial settles it."}</span>
      </div>
      {verdict && !byKey && <Second request={request} verdict={verdict} close={() => open(undefined)} />}
    </>
  );
}

function Second({ request, verdict, close }: { request: AccessRequest; verdict: Verdict; close: () => void }) {
  const [comment, setComment] = useState("");
  const { digest, same } = useChecked(request);
  const queries = useQueryClient();
  const approving = verdict === "approve";
  const envelope = envelopeOf(request);
  const decide = useMutation({
    mutationFn: () => {
      const params = { path: { id: request.id } };
      const said = comment.trim();
      if (!approving) return answer(api.POST("/api/v1/access-requests/{id}/deny", { params, headers: keys, body: { comment: said } }));
      if (!same || !digest) throw new Error("what is shown is not what would be approved");
      return answer(api.POST("/api/v1/access-requests/{id}/approve", { params, headers: keys, body: { digest, ...(said && { comment: said }) } }));
    },
    onSuccess: (after) => {
      queries.setQueryData(["access", "one", request.id], after);
      queries.setQueryData<AccessRequest[]>(["access", "to-approve"], (all) => all?.filter((other) => other.id !== request.id));
      void queries.invalidateQueries({ queryKey: ["access"] });
      close();
      toast(
        <>
          {approving ? (after.state === "pending" ? "Your approval counts; others are needed too" : "Approved") : "Denied"}
          <Link to="/access-requests/$id" params={{ id: request.id }}>
            {request.id}
          </Link>
        </>,
      );
    },
  });
  const keys = useOnce(comment, decide.error);
  return (
    <Dialog title={approving ? "Approve exactly this?" : "Deny this?"} onClose={close}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (!decide.isPending) decide.mutate();
        }}
      >
        <p>
          <strong className="strong"><Shown text={envelope.requester} /></strong> on <strong className="strong"><Shown text={envelope.resource} /></strong>
          {envelope.scope.scope === "window" && `: ${envelope.scope.operations.filter((operation) => operation !== "connect").join(", ")} for ${duration(envelope.duration)}`}
        </p>
        {envelope.scope.scope === "exact" && (envelope.scope.action.kind === "sql" ? <Sql text={envelope.scope.action.text} /> : <p className="note">{<Shown text={changeText(envelope.scope.action)} />}</p>)}
        <label className="field">
          <span>{approving ? "Comment, if you like" : "Why not"}</span>
          <input className="input" value={comment} autoFocus required={!approving} maxLength={2000} onChange={(event) => setComment(event.target.value)} autoComplete="off" />
          <small>{approving ? "Kept in the ledger with your approval." : "The requester reads this. Kept in the ledger."}</small>
        </label>
        {decide.error && <Failed error={decide.error} />}
        <div className="end">
          <button type="button" className="button" onClick={close}>
            Not now
          </button>
          <button type="submit" className={`button first ${approving ? "" : "danger"}`} disabled={decide.isPending || (approving && !same) || (!approving && comment.trim() === "")}>
            {decide.isPending ? "One moment…" : approving ? "Approve" : "Deny"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
