// Everything that waits for me: the most urgent first, live. On a wide window beside what is selected; on a phone each opens on its own page.
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import type { AccessRequest } from "../api/client";
import { countOf, toApprove } from "../api/queries";
import { envelopeOf, oneLine } from "../request/envelope";
import { Decide, useDeciding } from "../request/Decide";
import { Request } from "../request/Request";
import { useTitle } from "../shell/Shell";
import { Dialog, Empty, Failed, Wait } from "../ui/feedback";
import { useKeys } from "../ui/keys";
import { Operations } from "../ui/state";
import { Shown } from "../ui/text";
import { Left } from "../ui/time";

const route = getRouteApi("/signed-in/approvals");

/** Held statements wait in somebody's terminal; after them what lapses first. */
function urgency(a: AccessRequest, b: AccessRequest): number {
  const held = (request: AccessRequest) => (envelopeOf(request).origin.origin === "held" ? 0 : 1);
  return held(a) - held(b) || (a.deadline ?? "").localeCompare(b.deadline ?? "") || b.asked_at.localeCompare(a.asked_at);
}

export default function Approvals() {
  useTitle("Approvals");
  const { at } = route.useSearch();
  const navigate = route.useNavigate();
  const { data, error, isPending, refetch } = useQuery(toApprove);
  const [help, setHelp] = useState(false);
  const requests = data?.toSorted(urgency) ?? [];
  // What is shown stays, whatever comes in above it. When it is gone, the one that took its place is next.
  const last = useRef<{ id: string | undefined; place: number }>({ id: undefined, place: 0 });
  const placeOf = (id: string | undefined) => requests.findIndex((request) => request.id === id);
  const found = placeOf(at) >= 0 ? placeOf(at) : placeOf(last.current.id);
  const current = found >= 0 ? found : Math.max(0, Math.min(last.current.place, requests.length - 1));
  const selected = requests[current];
  useEffect(() => {
    last.current = { id: selected?.id, place: current };
  });
  const deciding = useDeciding(selected?.id);
  const select = (index: number) => {
    const request = requests[Math.min(Math.max(0, index), requests.length - 1)];
    if (request) void navigate({ to: "/approvals", search: { at: request.id }, replace: true });
  };
  useKeys({
    j: () => select(current + 1),
    k: () => select(current - 1),
    a: () => selected && deciding.open("approve"),
    d: () => selected && deciding.open("deny"),
    "?": () => setHelp(true),
  });

  if (isPending) return <Wait lines={6} />;
  if (error && !data) return <Failed error={error} retry={() => void refetch()} />;
  return (
    <div className="stack">
      <div className="row apart">
        <h1>
          Approvals <span className="quiet">{requests.length > 0 && countOf(data)}</span>
        </h1>
        <div className="row">
          <Bell />
          <button type="button" className="button small plain keys" onClick={() => setHelp(true)}>
            Keys <kbd>?</kbd>
          </button>
        </div>
      </div>
      {requests.length === 0 ? (
        <Empty title="Nothing waits for you">
          <p>What others ask for appears here by itself, and its count in the title of this tab.</p>
        </Empty>
      ) : (
        <div className="inbox">
          <nav className="list" aria-label="waiting for you">
            <ul>
              {requests.map((request) => (
                <Item key={request.id} request={request} current={request === selected} select={() => void navigate({ to: "/approvals", search: { at: request.id }, replace: true })} />
              ))}
            </ul>
          </nav>
          {selected && (
            <article className="card detail" key={selected.id} aria-label={`access request ${selected.id}`}>
              <Request request={selected} />
              <Decide request={selected} deciding={deciding} />
            </article>
          )}
        </div>
      )}
      {help && (
        <Dialog title="Keys" onClose={() => setHelp(false)}>
          <dl className="facts">
            {[
              ["j", "next"],
              ["k", "previous"],
              ["a", "approve, after a second look"],
              ["d", "deny, after a second look"],
              ["?", "these keys"],
              ["Esc", "close"],
            ].map(([key, what]) => (
              <div key={key} className="row">
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
          <div className="end">
            <button type="button" className="button" onClick={() => setHelp(false)}>
              Close
            </button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

function Item({ request, current, select }: { request: AccessRequest; current: boolean; select: () => void }) {
  const ref = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (current) ref.current?.scrollIntoView({ block: "nearest" });
  }, [current]);
  const envelope = envelopeOf(request);
  return (
    <li ref={ref}>
      <Link
        to="/access-requests/$id"
        params={{ id: request.id }}
        className="item"
        aria-current={current}
        onClick={(event) => {
          // Where there is room it opens beside the list.
          if (event.metaKey || event.ctrlKey || event.shiftKey || !matchMedia("(min-width: 861px)").matches) return;
          event.preventDefault();
          select();
        }}
      >
        <span className="row apart">
          <span className="strong">
            <Shown text={request.requester} /> → <Shown text={request.resource} />
          </span>
          <span className="quiet">{request.deadline && <Left until={request.deadline} />}</span>
        </span>
        <span className="line">
          <Shown text={oneLine(envelope)} />
        </span>
        <span className="row">
          <Operations of={request.operations} />
          {envelope.origin.origin === "held" && <span className="state warn">waits in a session</span>}
        </span>
      </Link>
    </li>
  );
}

/** Asks for notifications only when somebody wants them. */
function Bell() {
  const [permission, setPermission] = useState(typeof Notification === "undefined" ? "denied" : Notification.permission);
  if (permission !== "default") return null;
  return (
    <button type="button" className="button small" onClick={() => void Notification.requestPermission().then(setPermission)}>
      Notify me
    </button>
  );
}
