// One session: what was sent, how each statement ended, and whether the recording is what the ledger says. Live ones follow along.
import { useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { answer, api, once, Problem, type Recording } from "../api/client";
import { queryClient, recording, whoami } from "../api/queries";
import { matches, Row, type Entry, type Kind } from "../sessions/records";
import { TimeBar } from "../sessions/TimeBar";
import { useTitle } from "../shell/Shell";
import { Dialog, Empty, Failed, Older, toast, Wait } from "../ui/feedback";
import { useKeys } from "../ui/keys";
import { State } from "../ui/state";
import { Shown } from "../ui/text";
import { At, clockTime, Left } from "../ui/time";

const route = getRouteApi("/signed-in/sessions/$id");
/** Statements of a live session are journaled, not news: they are looked at again this often. */
const FOLLOW_MS = 1000;

export default function SessionPage() {
  const { id } = route.useParams();
  useTitle(id);
  const query = useInfiniteQuery({
    ...recording(id),
    refetchInterval: ({ state }) => (state.data?.pages[0]?.session.closed_at ? false : FOLLOW_MS),
  });
  const { data, error, isPending, refetch, hasNextPage } = query;
  const { data: who } = useQuery(whoami);
  const [only, setOnly] = useState<Kind>("all");
  const [current, setCurrent] = useState(0);
  const [ending, setEnding] = useState(false);
  const entries = useMemo(() => (data?.pages ?? []).flatMap((page) => page.records as unknown as Entry[]), [data]);
  const outcomes = useMemo(() => new Map(entries.filter((entry) => entry.what === "outcome").map((entry) => [entry.statement, entry])), [entries]);
  const shown = entries.filter((entry) => entry.what !== "outcome" && matches(entry, only, outcomes));
  const move = (by: number) => setCurrent(Math.min(Math.max(0, current + by), shown.length - 1));
  useKeys({ j: () => move(1), k: () => move(-1) });
  useEffect(() => {
    document.querySelector(`[data-n="${shown[current]?.n}"]`)?.scrollIntoView({ block: "nearest" });
  });
  if (isPending) return <Wait lines={8} />;
  if (error && !data)
    return error instanceof Problem && [400, 404].includes(error.status) ? (
      <Empty title="Nothing to see here">
        <p>There is no session {id}, or it is not yours to know of.</p>
        <Link to="/sessions" className="button">
          Sessions
        </Link>
      </Empty>
    ) : (
      <Failed error={error} retry={() => void refetch()} />
    );
  const last = data.pages.at(-1) as Recording;
  const { session } = last;
  const mayEnd = who?.ends_access || who?.name === session.principal;
  return (
    <article className="card" aria-label={`session ${id}`}>
      <header className="stack">
        <div className="row apart">
          <h1>
            <Shown text={session.principal} /> <span className="quiet">→</span> <Shown text={`${session.resource}/${session.database}`} />
          </h1>
          <State of={session.closed_at ? "closed" : "live"} />
        </div>
        <p className="quiet">
          opened <At at={session.opened_at} /> from <span className="mono"><Shown text={session.source} /></span>, {entries.filter((entry) => entry.what === "intent").length} statements{hasNextPage && " so far"}
          {session.until && (
            <>
              ; <Left until={session.until} />, as things stand
            </>
          )}
          {session.closed_at && (
            <>
              ; closed <At at={session.closed_at} />: <Shown text={session.closed_why ?? ""} />
            </>
          )}
        </p>
        <Intact chunks={last.chunks} live={!session.closed_at} />
        <div className="row apart">
          <div className="tabs" role="group" aria-label="show">
            {(["all", "changes", "held", "errors"] as const).map((kind) => (
              <button key={kind} type="button" aria-pressed={only === kind} onClick={() => (setOnly(kind), setCurrent(0))}>
                {kind}
              </button>
            ))}
          </div>
          {mayEnd && !session.closed_at && (
            <button type="button" className="button danger" onClick={() => setEnding(true)}>
              End it…
            </button>
          )}
        </div>
      </header>
      <TimeBar
        entries={entries}
        outcomes={outcomes}
        at={shown[current]?.at}
        go={(to) => setCurrent(Math.max(0, shown.findLastIndex((entry) => Date.parse(entry.at) <= to)))}
      />
      <ol>
        {shown.map((entry, at) => (
          <li key={entry.n} className="record" data-n={entry.n} aria-current={at === current} onClick={() => setCurrent(at)}>
            <time dateTime={entry.at} title={entry.at} className="quiet">
              {clockTime(entry.at)}
            </time>
            <Row entry={entry} outcome={outcomes.get(entry.statement)} />
          </li>
        ))}
      </ol>
      {shown.length === 0 && <Empty title={only === "all" ? "Nothing was sent" : `No ${only} in it`} />}
      <Older of={query}>More</Older>
      {ending && <End id={id} close={() => setEnding(false)} />}
    </article>
  );
}

function Intact({ chunks, live }: { chunks: Recording["chunks"]; live: boolean }) {
  const broken = chunks.filter((chunk) => !chunk.intact);
  const recovered = chunks.some((chunk) => chunk.recovered);
  if (broken.length > 0)
    return (
      <div className="note bad">
        <strong>Not what the ledger says.</strong> {broken.length} of {chunks.length} parts of this recording differ from their digests.
      </div>
    );
  return (
    <p className="hint">
      {chunks.length > 0 ? `✓ ${chunks.length} sealed ${chunks.length === 1 ? "part has the digest" : "parts have the digests"} that the ledger holds` : ""}
      {recovered && "; sealed after a crash: its end may be missing"}
      {live && `${chunks.length > 0 ? "; " : ""}what is new is sealed later`}
    </p>
  );
}

function End({ id, close }: { id: string; close: () => void }) {
  const [reason, setReason] = useState("");
  const end = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/sessions/{id}/kill", { params: { path: { id } }, headers: once(), body: { reason: reason.trim() } })),
    onSuccess: () => {
      close();
      toast("Ended");
      void queryClient.invalidateQueries({ queryKey: ["recording", id] });
      void queryClient.invalidateQueries({ queryKey: ["sessions"] });
    },
  });
  return (
    <Dialog title="End this session?" onClose={close}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          end.mutate();
        }}
      >
        <p>The statement that runs is cancelled and the connection closed. The grant stays.</p>
        <label className="field">
          <span>Why</span>
          <input className="input" required autoFocus value={reason} maxLength={2000} onChange={(event) => setReason(event.target.value)} autoComplete="off" />
        </label>
        {end.error && <Failed error={end.error} />}
        <div className="end">
          <button type="button" className="button" onClick={close}>
            Not now
          </button>
          <button type="submit" className="button danger first" disabled={end.isPending || reason.trim() === ""}>
            End it
          </button>
        </div>
      </form>
    </Dialog>
  );
}
