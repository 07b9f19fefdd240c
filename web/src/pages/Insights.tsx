// Insights: what came of access requests, in pictures. Each picture says the same as a table, and each part of it leads to the rows it counts.
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useRef, type ReactNode } from "react";
import { answer, api } from "../api/client";
import type { components } from "../api/schema";
import { useTitle } from "../shell/Shell";
import { Empty, Failed, Older, Wait } from "../ui/feedback";
import { Operations } from "../ui/state";
import { Shown } from "../ui/text";
import { At, span } from "../ui/time";
import "../insights/insights.css";

type Insights = components["schemas"]["Insights"];

export interface Rows {
  day?: string;
  came?: string;
  decided_by?: string;
  resource?: string;
  operations?: string;
  used?: boolean;
}

const route = getRouteApi("/signed-in/insights");
const DAYS = [7, 30, 90] as const;
const DAY_MS = 86_400_000;
const PAGE = 50;
/** In the order of the stack, from the ground up. */
const CAME: [name: string, words: string][] = [
  ["at_once", "allowed at once"],
  ["approved", "approved by people"],
  ["waits", "still waits"],
  ["withdrawn", "withdrawn"],
  ["lapsed", "lapsed"],
  ["denied", "denied by a person"],
  ["refused", "refused by policy"],
];
const wordsOf = (came: string) => CAME.find(([name]) => name === came)?.[1] ?? came;

/** From the beginning of a day, so that the same question is asked all day long. */
const since = (days: number) => new Date(Math.floor(Date.now() / DAY_MS) * DAY_MS - (days - 1) * DAY_MS).toISOString();
const ask = (days: number, rows: Rows, before: string | undefined, limit: number) =>
  answer(api.GET("/api/v1/insights", { params: { query: { from: since(days), limit, ...rows, ...(before && { before }) } } }));

export default function InsightsPage() {
  useTitle("Insights");
  const { days = 30, ...rows } = route.useSearch();
  const { data, error, isPending, refetch } = useQuery({ queryKey: ["insights", days], queryFn: () => ask(days, {}, undefined, 1), placeholderData: keepPreviousData });
  const chosen = Object.keys(rows).length > 0;
  return (
    <div className="stack">
      <div className="row apart">
        <h1>Insights</h1>
        <nav className="tabs" aria-label="how far back">
          {DAYS.map((each) => (
            <Link key={each} to="/insights" search={{ days: each }} aria-current={days === each ? "page" : undefined}>
              {each} days
            </Link>
          ))}
        </nav>
      </div>
      {isPending ? (
        <Wait lines={8} />
      ) : error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : (
        <>
          {!data.complete && <div className="note warn">There was more than is counted here: these are the newest {data.counted.toLocaleString()}.</div>}
          <Pictures of={data} days={days} />
        </>
      )}
      {chosen && <Behind days={days} rows={rows} />}
    </div>
  );
}

function Pictures({ of, days }: { of: Insights; days: number }) {
  return (
    <div className="pictures">
      <OverTime of={of} days={days} />
      <Standing of={of} />
      <Deciding of={of} days={days} />
      <Grants of={of} days={days} />
      <Refused of={of} days={days} />
      <Cuts of={of} />
    </div>
  );
}

function Picture({ title, wide = false, table, children }: { title: string; wide?: boolean; table?: { head: string[]; rows: (string | number)[][] }; children: ReactNode }) {
  return (
    <figure className={`card picture ${wide ? "wide" : ""}`} aria-label={title}>
      <figcaption>
        <h2>{title}</h2>
      </figcaption>
      {children}
      {table && table.rows.length > 0 && (
        <details>
          <summary className="hint">As a table</summary>
          <div className="scroll" tabIndex={0} role="region" aria-label={`${title}: table`}>
            <table className="table">
              <thead>
                <tr>
                  {table.head.map((name) => (
                    <th key={name} scope="col">
                      {name}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {table.rows.map((row) => (
                  <tr key={String(row[0])}>
                    {row.map((value, at) => (
                      <td key={at}>
                        <Shown text={String(value)} />
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </details>
      )}
    </figure>
  );
}

function OverTime({ of, days }: { of: Insights; days: number }) {
  const counts = new Map(of.days.map((day) => [day.day, day.came]));
  const first = Date.parse(since(days));
  const all = Array.from({ length: days }, (_, at) => new Date(first + at * DAY_MS).toISOString().slice(0, 10));
  const total = (day: string) => Object.values(counts.get(day) ?? {}).reduce((sum, count) => sum + count, 0);
  const most = Math.max(1, ...all.map(total));
  const used = CAME.filter(([name]) => of.days.some((day) => (day.came[name] ?? 0) > 0));
  const width = 1000 / days;
  return (
    <Picture
      title="Access requests by day (UTC) and what came of them"
      wide
      table={{ head: ["day", ...used.map(([, words]) => words)], rows: of.days.map((day) => [day.day, ...used.map(([name]) => day.came[name] ?? 0)]) }}
    >
      {of.counted === 0 ? (
        <Empty title="Nothing was asked in this time" />
      ) : (
        <>
          <svg className="chart" viewBox="0 0 1000 180" preserveAspectRatio="none" role="group" aria-label={`${of.counted} access requests in ${days} days, at most ${most} on one day`}>
            {[0.5, 1].map((part) => (
              <line key={part} className="scale" x1="0" x2="1000" y1={170 - 160 * part} y2={170 - 160 * part} />
            ))}
            {all.map((day, at) => {
              let top = 170;
              return used.map(([name, words]) => {
                const count = counts.get(day)?.[name] ?? 0;
                if (count === 0) return null;
                const height = (160 * count) / most;
                top -= height;
                return (
                  <Link key={`${day}${name}`} to="/insights" search={{ days, day, came: name }} aria-label={`${day}: ${count} ${words}`}>
                    <rect className={`came-${name}`} x={at * width + width * 0.1} width={width * 0.8} y={top} height={height} strokeWidth="1" vectorEffect="non-scaling-stroke">
                      <title>{`${day}: ${count} ${words}`}</title>
                    </rect>
                  </Link>
                );
              });
            })}
            <line className="axis" x1="0" x2="1000" y1="170" y2="170" />
          </svg>
          <div className="row apart hint">
            <span>{all[0]}</span>
            <span>at most {most} on one day</span>
            <span>{all.at(-1)}</span>
          </div>
          <div className="legend">
            {used.map(([name, words]) => (
              <Link key={name} to="/insights" search={{ days, came: name }}>
                <svg viewBox="0 0 12 12" aria-hidden="true">
                  <rect className={`came-${name}`} x="1" y="1" width="10" height="10" />
                </svg>
                {of.days.reduce((sum, day) => sum + (day.came[name] ?? 0), 0)} {words}
              </Link>
            ))}
          </div>
        </>
      )}
    </Picture>
  );
}

function Standing({ of }: { of: Insights }) {
  const count = of.standing_privilege.length;
  return (
    <Picture title="Standing privilege">
      <p className={count === 0 ? "state good" : "state warn"}>
        <span className="standing">{count}</span> {count === 0 ? "✓ nobody can do anything alone" : "! what breaks it:"}
      </p>
      {count > 0 && (
        <ul className="stack">
          {of.standing_privilege.map((why) => (
            <li key={why} className="note warn">
              <Shown text={why} />
            </li>
          ))}
        </ul>
      )}
      <p className="hint">
        Counted from who administers among <Link to="/people">people and groups</Link> and from <Link to="/policy">the policy</Link> that binds them.
      </p>
    </Picture>
  );
}

function Deciding({ of, days }: { of: Insights; days: number }) {
  const longest = Math.max(1, ...of.deciding.map((each) => each.p95_seconds));
  const time = (seconds: number) => span(seconds * 1000);
  return (
    <Picture
      title="Time until people decided"
      table={{ head: ["group", "decided", "median", "95 of 100 within"], rows: of.deciding.map((each) => [each.group ?? "anybody who may", each.decided, time(each.median_seconds), time(each.p95_seconds)]) }}
    >
      {of.deciding.length === 0 ? (
        <p className="quiet">People decided nothing in this time.</p>
      ) : (
        <div className="bars">
          {of.deciding.map((each) => (
            <Link key={each.group ?? ""} to="/insights" search={{ days, ...(each.group && { decided_by: each.group }) }}>
              <span className="row apart">
                <span className="strong">
                  <Shown text={each.group ?? "anybody who may"} />
                </span>
                <span>
                  median {time(each.median_seconds)}, 95 of 100 within {time(each.p95_seconds)}, {each.decided} decided
                </span>
              </span>
              <svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
                <rect className="track" y="5" width={(100 * each.p95_seconds) / longest} height="2" />
                <rect className="part" y="1" width={(100 * each.median_seconds) / longest} height="10" />
                <line className="mark" x1={(99.5 * each.p95_seconds) / longest} x2={(99.5 * each.p95_seconds) / longest} y1="1" y2="11" />
              </svg>
            </Link>
          ))}
        </div>
      )}
    </Picture>
  );
}

function Grants({ of, days }: { of: Insights; days: number }) {
  const most = Math.max(1, ...of.grants.map((each) => each.held));
  return (
    <Picture title="Grants held, and taken up" table={{ head: ["resource", "held", "taken up"], rows: of.grants.map((each) => [each.resource, each.held, each.used]) }}>
      {of.grants.length === 0 ? (
        <p className="quiet">Nothing was granted in this time.</p>
      ) : (
        <div className="bars">
          {of.grants.map((each) => (
            <Link key={each.resource} to="/insights" search={{ days, resource: each.resource, used: each.used === each.held }}>
              <span className="row apart">
                <span className="strong">
                  <Shown text={each.resource} />
                </span>
                <span>
                  {each.used} of {each.held} taken up
                </span>
              </span>
              <svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
                <rect className="track" y="1" width={(100 * each.held) / most} height="10" />
                <rect className="part" y="1" width={(100 * each.used) / most} height="10" />
              </svg>
            </Link>
          ))}
          <p className="hint">Taken up: a session acted under it, or the action was run. What is never taken up need not be asked for.</p>
        </div>
      )}
    </Picture>
  );
}

function Refused({ of, days }: { of: Insights; days: number }) {
  const most = Math.max(1, ...of.refused.map((each) => each.count));
  return (
    <Picture title="Refused or denied most" table={{ head: ["action", "times"], rows: of.refused.map((each) => [`${each.operations.join(", ")} on ${each.resource}`, each.count]) }}>
      {of.refused.length === 0 ? (
        <p className="quiet">Nothing was refused or denied in this time.</p>
      ) : (
        <div className="bars">
          {of.refused.map((each) => (
            <Link key={`${each.resource} ${each.operations.join()}`} to="/insights" search={{ days, resource: each.resource, operations: each.operations.join(",") }}>
              <span className="row apart">
                <span>
                  <span className="strong">{each.operations.join(", ")}</span> on <Shown text={each.resource} />
                </span>
                <span>{each.count}</span>
              </span>
              <svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
                <rect className="part against" y="1" width={(100 * each.count) / most} height="10" />
              </svg>
            </Link>
          ))}
        </div>
      )}
    </Picture>
  );
}

/** `0.5 ms`, `20 ms`, `2.5 s`. */
const shortSpan = (micros: number) => (micros < 1_000_000 ? `${micros / 1000} ms` : `${micros / 1_000_000} s`);

/** How soon a session is gone once its right is over. */
function Cuts({ of }: { of: Insights }) {
  const { client, backend, since } = of.cuts;
  const bounds = [...new Set([...client, ...backend].map((took) => took.at_most_micros ?? Infinity))].sort((a, b) => a - b);
  const countAt = (list: typeof client, bound: number) => list.find((took) => (took.at_most_micros ?? Infinity) === bound)?.count ?? 0;
  const rows = bounds.map((bound) => ({ bound, words: bound === Infinity ? "longer" : `within ${shortSpan(bound)}`, client: countAt(client, bound), backend: countAt(backend, bound) }));
  const [from, to] = [rows.findIndex((row) => row.client + row.backend > 0), rows.findLastIndex((row) => row.client + row.backend > 0)];
  const shown = from < 0 ? [] : rows.slice(from, to + 1);
  const most = Math.max(1, ...shown.flatMap((row) => [row.client, row.backend]));
  return (
    <Picture title="From the end of a right until its session was gone" table={{ head: ["time", "client’s connection closed", "server’s process gone"], rows: shown.map((row) => [row.words, row.client, row.backend]) }}>
      {shown.length === 0 ? (
        <p className="quiet">
          No session was cut since the gateway started, <At at={since} />.
        </p>
      ) : (
        <div className="bars">
          {shown.map((row) => (
            <div key={row.words} className="bar">
              <span className="row apart">
                <span className="strong">{row.words}</span>
                <span>
                  {row.client} closed, {row.backend} gone at the server
                </span>
              </span>
              <svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
                <rect className="part" y="1" width={(100 * row.client) / most} height="4" />
                <rect className="part against" y="7" width={(100 * row.backend) / most} height="4" />
              </svg>
            </div>
          ))}
          <p className="hint">
            Counted since the gateway started, <At at={since} />; above, until the client’s connection was closed, below, until the server’s process for it was gone. <Link to="/sessions">Sessions</Link> say why each ended.
          </p>
        </div>
      )}
    </Picture>
  );
}

/** The access requests that a part of a picture counts. */
function Behind({ days, rows }: { days: number; rows: Rows }) {
  const list = useInfiniteQuery({
    queryKey: ["insights", days, rows],
    queryFn: ({ pageParam }) => ask(days, rows, pageParam, PAGE),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => (page.rows.length === PAGE ? page.rows.at(-1)?.id : undefined),
  });
  const { data, error, isPending, refetch } = list;
  const top = useRef<HTMLElement>(null);
  const key = JSON.stringify(rows);
  useEffect(() => top.current?.focus(), [key]);
  const all = data?.pages.flatMap((page) => page.rows) ?? [];
  const words = [rows.came && wordsOf(rows.came), rows.operations?.replaceAll(",", ", "), rows.resource && `on ${rows.resource}`, rows.decided_by && `decided, with ${rows.decided_by} asked`, rows.used === undefined ? "" : rows.used ? "taken up" : "never taken up", rows.day].filter(Boolean).join(", ");
  return (
    <section className="card stack" aria-label="access requests behind the picture" ref={top} tabIndex={-1} data-testid="behind">
      <div className="row apart">
        <h2>
          Behind it: <Shown text={words} />
        </h2>
        <Link to="/insights" search={{ days }} className="button small">
          Close
        </Link>
      </div>
      {isPending ? (
        <Wait />
      ) : error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : all.length === 0 ? (
        <Empty title="None" />
      ) : (
        <div className="scroll" tabIndex={0} role="region" aria-label="table of access requests">
          <table className="table">
            <thead>
              <tr>
                {["Asked", "Who", "What", "Came to", "Decided after", ""].map((name) => (
                  <th key={name} scope="col">
                    {name || <span className="unseen">link</span>}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {all.map((row) => (
                <tr key={row.id}>
                  <td>
                    <At at={row.asked_at} />
                  </td>
                  <td>
                    <Shown text={row.requester} />
                  </td>
                  <td>
                    <Operations of={row.operations} /> on <Shown text={row.resource} />
                  </td>
                  <td>
                    {wordsOf(row.came)}
                    {row.used === false && <span className="quiet">, never taken up</span>}
                  </td>
                  <td>{row.decided_after_seconds != null && span(row.decided_after_seconds * 1000)}</td>
                  <td>
                    <Link to="/access-requests/$id" params={{ id: row.id }} className="mono">
                      {row.id}
                    </Link>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Older of={list} />
    </section>
  );
}
