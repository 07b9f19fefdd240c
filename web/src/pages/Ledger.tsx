// The ledger for those who audit: what happened, found by who, what, when and by its words; each entry proved in this browser.
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useRef, useState, type FormEvent } from "react";
import { Problem } from "../api/client";
import { newestCheckpoint } from "../api/proofs";
import { resources } from "../api/queries";
import { inWords, KINDS } from "../ledger/kinds";
import { asCsv, entryAt, exportAll, jsonLines, MOST_ENTRIES, searching, type Filters, type FoundEntry } from "../ledger/search";
import { hex } from "../proof/canonical";
import { NotProven } from "../proof/ledger";
import { ProofBadge } from "../request/Timeline";
import { useTitle } from "../shell/Shell";
import { Empty, Failed, Wait } from "../ui/feedback";
import { save } from "../ui/save";
import { Shown } from "../ui/text";
import { At } from "../ui/time";
import "../ledger/ledger.css";

const route = getRouteApi("/signed-in/ledger");
const count = (of: number, one: string, many: string) => `${of.toLocaleString()} ${of === 1 ? one : many}`;

export default function Ledger() {
  useTitle("Ledger");
  const { entry, ...filters } = route.useSearch();
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetching, isFetchingNextPage, isPlaceholderData } = useInfiniteQuery({ ...searching(filters), placeholderData: keepPreviousData });
  const all = data?.pages.flatMap((page) => page.entries) ?? [];
  const lookedAt = data?.pages.reduce((sum, page) => sum + page.looked_at, 0) ?? 0;
  const backTo = data?.pages.findLast((page) => page.back_to)?.back_to;
  const forbidden = error instanceof Problem && error.code === "VIEW-001";
  return (
    <div className="stack">
      <h1>Ledger</h1>
      {!forbidden && (
        <>
          <Tree shown={data?.pages[0]?.size} refresh={() => void refetch()} />
          <FilterBar key={JSON.stringify(filters)} filters={filters} />
        </>
      )}
      {entry !== undefined && !isPending && !forbidden && !all.some((each) => each.index === entry) && <Alone index={entry} filters={filters} />}
      {isPending ? (
        <Wait lines={8} />
      ) : error && (!data || isPlaceholderData) ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : (
        <>
          {error && <Failed error={error} retry={() => void refetch()} />}
          {all.length === 0 ? (
            <Empty title={Object.keys(filters).length > 0 ? "Nothing fits" : "The ledger is empty"}>
              <p>{hasNextPage ? `Among the newest ${count(lookedAt, "entry", "entries")} that were looked at. There are older ones.` : "The whole of the time asked about was looked at."}</p>
            </Empty>
          ) : (
            <ul className="card rows entries" aria-label="entries" aria-busy={isFetching}>
              {all.map((each) => (
                <Row key={each.index} of={each} filters={filters} open={each.index === entry} />
              ))}
            </ul>
          )}
          <div className="row apart">
            {hasNextPage ? (
              <button type="button" className="button" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
                {isFetchingNextPage ? "Looking…" : all.length === 0 ? "Look further back" : "Older ones"}
              </button>
            ) : (
              <span />
            )}
            {backTo && (
              <span className="hint">
                {count(all.length, "entry fits", "entries fit")} of {lookedAt.toLocaleString()} looked at, back to <At at={backTo} />
              </span>
            )}
          </div>
        </>
      )}
    </div>
  );
}

/** How large the tree is, who signed that, and whether it holds what this browser saw before. */
function Tree({ shown, refresh }: { shown: number | undefined; refresh: () => void }) {
  const { data, error, isPending, refetch } = useQuery(newestCheckpoint);
  if (isPending) return <Wait lines={3} />;
  if (error instanceof NotProven)
    return (
      <div className="note bad" role="alert">
        <strong>Not proved.</strong> <Shown text={error.message} />. Take this to whoever runs the gateway.
      </div>
    );
  if (error && !data) {
    // Nothing was signed yet, or this browser can't check.
    if (error instanceof Problem && error.status === 404) return <div className="note">Nothing has been signed yet. A checkpoint comes within a second of the first entry.</div>;
    if (error.name === "NotSupportedError") return <div className="note warn">Not checked: this browser lacks Ed25519 signatures; one of 2025 or newer has them.</div>;
    return <Failed error={error} retry={() => void refetch()} />;
  }
  const { checkpoint, seen } = data;
  const newer = shown === undefined ? 0 : checkpoint.size - shown;
  return (
    <section className="card stack" aria-label="the tree" data-testid="tree">
      <dl className="tree">
        <dt>entries</dt>
        <dd className="strong">{checkpoint.size.toLocaleString()} under the newest checkpoint</dd>
        <dt>signed by</dt>
        <dd>
          <span className="mono"><Shown text={checkpoint.origin} /></span>, with the key this browser saw first
        </dd>
        <dt>root</dt>
        <dd className="digest">{hex(checkpoint.root)}</dd>
        <dt>before</dt>
        <dd>{seen === undefined ? "this browser sees this ledger for the first time" : `✓ holds, unchanged, the ${count(seen, "entry", "entries")} this browser saw last`}</dd>
      </dl>
      {newer > 0 && (
        <button type="button" className="button small" onClick={refresh}>
          {count(newer, "newer entry", "newer entries")}: look again
        </button>
      )}
    </section>
  );
}

function FilterBar({ filters }: { filters: Filters }) {
  const navigate = route.useNavigate();
  const { data } = useQuery(resources);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const said = Object.fromEntries([...form].map(([name, value]) => [name, String(value).trim()]).filter(([, value]) => value !== ""));
    void navigate({ to: "/ledger", search: said as Filters });
  };
  const known = KINDS.some(([, kinds]) => kinds.includes(filters.kind ?? ""));
  return (
    <form className="card filters" role="search" aria-label="entries of the ledger" onSubmit={submit}>
      <label className="field">
        <span>Who</span>
        <input className="input" name="person" defaultValue={filters.person} autoComplete="off" autoCapitalize="none" spellCheck={false} placeholder="anybody" />
      </label>
      <label className="field">
        <span>On what</span>
        <input className="input" name="resource" defaultValue={filters.resource} autoComplete="off" autoCapitalize="none" spellCheck={false} placeholder="anything" list="ledger-resources" />
      </label>
      <datalist id="ledger-resources">{data?.map(({ name }) => <option key={name} value={name} />)}</datalist>
      <label className="field wide">
        <span>What happened</span>
        <select className="input" name="kind" defaultValue={filters.kind ?? ""}>
          <option value="">anything</option>
          {filters.kind && !known && <option value={filters.kind}>{filters.kind}</option>}
          {KINDS.map(([group, kinds]) => (
            <optgroup key={group} label={group}>
              {kinds.map((kind) => (
                <option key={kind} value={kind}>
                  {inWords(kind)}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
      </label>
      <label className="field">
        <span>From the day</span>
        <input className="input" type="date" name="from" defaultValue={filters.from} />
      </label>
      <label className="field">
        <span>To the day (UTC)</span>
        <input className="input" type="date" name="to" defaultValue={filters.to} />
      </label>
      <label className="field wide">
        <span>With the words</span>
        <input className="input" type="search" name="text" defaultValue={filters.text} autoComplete="off" spellCheck={false} maxLength={120} placeholder="somewhere in the entry" />
      </label>
      <div className="end">
        <button type="submit" className="button first">
          Search
        </button>
        {Object.keys(filters).length > 0 && (
          <Link to="/ledger" className="button">
            Clear
          </Link>
        )}
        <Export filters={filters} />
      </div>
    </form>
  );
}

function Export({ filters }: { filters: Filters }) {
  const [running, setRunning] = useState<{ stop: AbortController; entries: number }>();
  const [said, setSaid] = useState<string>();
  const stop = useRef<AbortController>(undefined);
  useEffect(() => () => stop.current?.abort(), []);
  const start = async (type: "jsonl" | "csv") => {
    const controller = new AbortController();
    stop.current = controller;
    setSaid(undefined);
    setRunning({ stop: controller, entries: 0 });
    try {
      const { entries, complete } = await exportAll(filters, (got) => setRunning({ stop: controller, entries: got }), controller.signal);
      if (type === "csv") save("ledger.csv", "text/csv", asCsv(entries));
      else save("ledger.jsonl", "application/jsonl", jsonLines(entries));
      setSaid(complete ? `Saved: ${count(entries.length, "entry", "entries")}, all that fit.` : `Saved: the newest ${count(entries.length, "entry", "entries")}. There is more; a file takes ${MOST_ENTRIES.toLocaleString()} at most, so narrow the days.`);
    } catch (error) {
      setSaid(controller.signal.aborted ? "Stopped; nothing was saved." : `Nothing was saved: ${error instanceof Error ? error.message : "it failed"}.`);
    } finally {
      setRunning(undefined);
    }
  };
  return (
    <>
      <button type="button" className="button" disabled={running !== undefined} onClick={() => void start("jsonl")}>
        Save as JSON Lines
      </button>
      <button type="button" className="button" disabled={running !== undefined} onClick={() => void start("csv")}>
        Save as CSV
      </button>
      {running && (
        <button type="button" className="button small" onClick={() => running.stop.abort()}>
          Stop
        </button>
      )}
      <span className="hint" role="status">
        {running ? `Reading: ${count(running.entries, "entry", "entries")} so far…` : said}
      </span>
    </>
  );
}

function Row({ of, filters, open }: { of: FoundEntry; filters: Filters; open: boolean }) {
  return (
    <li>
      <Link to="/ledger" search={{ ...filters, ...(!open && { entry: of.index }) }} resetScroll={false} className="item" aria-expanded={open} aria-current={open ? "true" : undefined}>
        <span className="index mono">#{of.index}</span>
        <span className="at quiet"><At at={of.at} /></span>
        <span className="kind strong">{of.kind.replaceAll("_", " ")}</span>
        <span className="of">
          {of.who ? <Shown text={of.who} /> : <span className="quiet">the gateway</span>}
          {of.resource && (
            <>
              {" → "}
              <Shown text={of.resource} />
            </>
          )}
        </span>
        <span className="line"><Shown text={of.summary} /></span>
      </Link>
      {open && <Opened of={of} />}
    </li>
  );
}

/** An entry that a link names and that is not in the list. */
function Alone({ index, filters }: { index: number; filters: Filters }) {
  const { data, error, isPending, refetch } = useQuery({ queryKey: ["ledger", "entry", index], queryFn: () => entryAt(index) });
  if (isPending) return <Wait lines={3} />;
  if (error) return <Failed error={error} retry={() => void refetch()} />;
  if (!data) return <div className="note warn">The ledger has no entry {index} yet.</div>;
  return (
    <section className="card entry" aria-label={`entry ${index}`}>
      <div className="row apart">
        <span>
          <span className="strong">{data.kind.replaceAll("_", " ")}</span>, <At at={data.at} />
        </span>
        <Link to="/ledger" search={filters} className="button small">
          Close
        </Link>
      </div>
      <p><Shown text={data.summary} /></p>
      <Opened of={data} plain />
    </section>
  );
}

function Opened({ of, plain = false }: { of: FoundEntry; plain?: boolean }) {
  return (
    <div className={plain ? "stack" : "entry"} data-testid="opened">
      <div className="row apart">
        <span className="row">
          <ProofBadge line={of} />
          <Stream of={of.stream} />
          <span className="hint">event {of.version}</span>
        </span>
        <Link to="/ledger" search={{ entry: of.index }} className="hint">
          Link to this entry
        </Link>
      </div>
      <dl className="facts">
        <dt>at</dt>
        <dd className="mono">{of.at}</dd>
        <dt>who</dt>
        <dd>{of.who ? <Shown text={of.who} /> : "the gateway"}</dd>
        {of.about && of.about !== of.who && (
          <>
            <dt>about</dt>
            <dd><Shown text={of.about} /></dd>
          </>
        )}
        {of.resource && (
          <>
            <dt>on</dt>
            <dd><Shown text={of.resource} /></dd>
          </>
        )}
      </dl>
      {of.event ? (
        <pre className="sql long" tabIndex={0} role="region" aria-label="body">
          <Shown text={JSON.stringify(of.event, null, 2)} />
        </pre>
      ) : (
        <p className="note">Its body was erased. That it happened, and when, stays provable.</p>
      )}
    </div>
  );
}

function Stream({ of }: { of: string }) {
  if (of.startsWith("rq-"))
    return (
      <Link to="/access-requests/$id" params={{ id: of }} className="mono">
        {of}
      </Link>
    );
  if (of.startsWith("se-"))
    return (
      <Link to="/sessions/$id" params={{ id: of }} className="mono">
        {of}
      </Link>
    );
  return <span className="mono">{of}</span>;
}
