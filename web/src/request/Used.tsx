// The sessions in which an access request was used: what the ledger says of each, and what was sent in it.
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import type { AccessRequest } from "../api/client";
import type { components } from "../api/schema";
import { recording, sessionsOf, whoami } from "../api/queries";
import { Row, type Entry } from "../sessions/records";
import { Failed, Wait } from "../ui/feedback";
import { State } from "../ui/state";
import { Timeline } from "./Timeline";

/** Most statements shown here; the recording has all. */
const MOST = 20;
/** Most records looked through for them. */
const LOOKED_AT = 2_000;

export function Used({ request }: { request: AccessRequest }) {
  const { data: who } = useQuery(whoami);
  // Sessions are for whose they are and for auditors: an approver sees the rest.
  const may = who?.audits || who?.name === request.requester;
  const { data, error } = useQuery({ ...sessionsOf(request.id), enabled: may });
  if (error && !data) return <Failed error={error} />;
  if (!data || data.sessions.length === 0) return null;
  return (
    <section className="section" aria-label="sessions">
      <h2>Sessions in which it was used</h2>
      {!data.complete && <p className="hint">There may be older ones.</p>}
      {data.sessions.map((story) => (
        <Story key={story.session.id} of={story} grant={request.grant} />
      ))}
    </section>
  );
}

function Story({ of: { session, history, left_out }, grant }: { of: components["schemas"]["SessionStory"]; grant: string | undefined }) {
  const [open, setOpen] = useState(false);
  return (
    <div className="stack">
      <div className="row apart">
        <Link to="/sessions/$id" params={{ id: session.id }} className="mono">
          {session.id}
        </Link>
        <State of={session.closed_at ? "closed" : "live"} />
      </div>
      <Timeline lines={history} />
      {left_out > 0 && <p className="hint">{left_out} more refused actions are in the recording.</p>}
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>Statements that passed with it</summary>
        {open && <Statements of={session.id} grant={grant} />}
      </details>
    </div>
  );
}

function Statements({ of, grant }: { of: string; grant: string | undefined }) {
  const { data, error, isPending, isFetching, hasNextPage, fetchNextPage } = useInfiniteQuery(recording(of));
  const entries = data?.pages.flatMap((page) => page.records as unknown as Entry[]) ?? [];
  // A session may act under several grants: the others' statements are theirs.
  const statements = entries.filter((entry) => entry.what === "intent" && entry.grant === grant);
  const more = hasNextPage && statements.length < MOST && entries.length < LOOKED_AT;
  useEffect(() => {
    if (more && !isFetching && !error) void fetchNextPage();
  }, [more, isFetching, error, fetchNextPage]);
  if (isPending || (more && !error)) return <Wait />;
  if (error) return <Failed error={error} />;
  const outcomes = new Map(entries.filter((entry) => entry.what === "outcome").map((entry) => [entry.statement, entry]));
  const cut = statements.length > MOST || hasNextPage;
  return (
    <>
      {statements.length === 0 && !cut && <p className="quiet">None.</p>}
      <ol className="stack">
        {statements.slice(0, MOST).map((entry) => (
          <li key={entry.n}>
            <Row entry={entry} outcome={outcomes.get(entry.statement)} />
          </li>
        ))}
      </ol>
      {cut && (
        <p className="hint">
          {statements.length >= MOST ? `The first ${MOST}` : `${statements.length} among the first ${entries.length} records`};{" "}
          <Link to="/sessions/$id" params={{ id: of }}>
            the recording has all
          </Link>
          .
        </p>
      )}
    </>
  );
}
