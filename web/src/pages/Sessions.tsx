// Connections through the door: those open now, and those that were. Live ones can be cut.
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { sessions } from "../api/queries";
import { useTitle } from "../shell/Shell";
import { Empty, Failed, Older, Wait } from "../ui/feedback";
import { State } from "../ui/state";
import { Shown } from "../ui/text";
import { Ago, At, Left } from "../ui/time";

export default function Sessions() {
  useTitle("Sessions");
  const [live, setLive] = useState(true);
  const list = useInfiniteQuery(sessions(live));
  const { data, error, isPending, refetch } = list;
  const all = data?.pages.flat() ?? [];
  return (
    <div className="stack">
      <div className="row apart">
        <h1>Sessions</h1>
        <div className="tabs" role="group" aria-label="which">
          <button type="button" aria-pressed={live} onClick={() => setLive(true)}>
            Live
          </button>
          <button type="button" aria-pressed={!live} onClick={() => setLive(false)}>
            Recorded
          </button>
        </div>
      </div>
      {isPending ? (
        <Wait lines={6} />
      ) : error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : all.length === 0 ? (
        <Empty title={live ? "Nobody is connected" : "Nothing was recorded yet"}>
          <p>You see your own sessions; auditors see everybody’s.</p>
        </Empty>
      ) : (
        <ul className="card rows">
          {all.map((session) => (
            <li key={session.id}>
              <Link to="/sessions/$id" params={{ id: session.id }} className="item">
                <span className="row apart">
                  <span className="row">
                    <State of={session.closed_at ? "closed" : "live"} />
                    <span className="strong">
                      <Shown text={session.principal} /> → <Shown text={`${session.resource}/${session.database}`} />
                    </span>
                  </span>
                  <span className="quiet">
                    {session.closed_at ? <At at={session.opened_at} /> : <Ago at={session.opened_at} />}
                    {session.until && (
                      <>
                        , <Left until={session.until} />
                      </>
                    )}
                  </span>
                </span>
                <span className="line">
                  {session.closed_at && `${session.statements} statements, `}from <Shown text={session.source} />
                  {session.closed_why && (
                    <>
                      ; <Shown text={session.closed_why} />
                    </>
                  )}
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
      <Older of={list} />
      <p className="hint">
        <a href="/terminal">Play a terminal recording</a> from a file (asciicast).
      </p>
    </div>
  );
}
