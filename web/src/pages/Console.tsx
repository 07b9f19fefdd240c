// The console: one statement is written, asked for, waited for, run once and looked at. While it is written the page says what policy
// will do with it; that comes from parsing alone, and no database is touched before somebody asked.
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useMemo, useRef, useState } from "react";
import { answer, api, once, Problem, type AccessRequest, type Ask } from "../api/client";
import { useLine } from "../api/live";
import { useOnce } from "../api/once";
import { accessRequest, mine, preview, resources, whoami } from "../api/queries";
import { Foreseen, NO_WORDS_YET, useLater, Verdict } from "../request/Foreseen";
import { useRun } from "../request/result";
import { Results } from "../request/ResultTable";
import { useTitle } from "../shell/Shell";
import { Editor } from "../sql/Editor";
import { namesSeen, sqlOf } from "../sql/names";
import { Sql } from "../sql/Sql";
import { Empty, Failed, Wait } from "../ui/feedback";
import { Operations, State } from "../ui/state";
import { Shown } from "../ui/text";
import { Ago, Left } from "../ui/time";
import "./console.css";

const route = getRouteApi("/signed-in/console");
/** How long an approved statement may wait to be run. */
const LASTS = ["5m", "15m", "30m", "1h"];
/** Without news the gateway is asked this often. */
const WITHOUT_NEWS_MS = 3000;
/** Earlier statements to choose from. */
const EARLIER = 8;

interface Draft {
  text: string;
  reason: string;
  lasts: string;
}
const EMPTY: Draft = { text: "", reason: "", lasts: "15m" };

/** Kept while one looks at other pages, and gone with the sign-in. */
function useDraft(): [Draft, (change: Partial<Draft>) => void] {
  const queries = useQueryClient();
  const { data = EMPTY } = useQuery({ queryKey: ["draft"], queryFn: () => EMPTY, initialData: EMPTY, staleTime: Infinity, gcTime: Infinity });
  return [data, (change) => queries.setQueryData<Draft>(["draft"], (draft = EMPTY) => ({ ...draft, ...change }))];
}

export default function Console() {
  useTitle("Console");
  const { resource: wanted, request } = route.useSearch();
  const navigate = route.useNavigate();
  const go = (search: { resource: string | undefined; request: string | undefined }) => void navigate({ to: "/console", search, replace: true });
  const all = useQuery(resources);
  const history = useInfiniteQuery(mine);
  const [draft, change] = useDraft();
  // The same statement asked again on purpose is another asking.
  const [times, setTimes] = useState(0);
  // What this page asked for runs when it may; what it only shows runs when somebody says so.
  const [armed, arm] = useState<string>();
  const queries = useQueryClient();

  const candidates = (all.data ?? []).filter((each) => each.kind === "postgres");
  const resource = candidates.find((each) => each.name === wanted)?.name ?? candidates[0]?.name;
  const earlier = useMemo(() => history.data?.pages.flat() ?? [], [history.data]);
  const names = useMemo(() => namesSeen(earlier, resource ?? ""), [earlier, resource]);
  const body = (words: string): Ask => ({ resource: resource ?? "", what: { kind: "sql", text: draft.text }, reason: words, duration: draft.lasts });
  const written = draft.text.trim() !== "" && resource !== undefined;
  const later = useLater(JSON.stringify(body(draft.reason.trim() || NO_WORDS_YET)), 250);
  const toForesee = JSON.parse(later) as Ask;
  const foreseeable = written && toForesee.what.kind === "sql" && toForesee.what.text.trim() !== "" && toForesee.resource !== "";
  const foreseen = useQuery({ ...preview(toForesee), enabled: foreseeable, placeholderData: keepPreviousData });
  // What is said must be about what is written.
  const current = written && !foreseen.isPlaceholderData && later === JSON.stringify(body(draft.reason.trim() || NO_WORDS_YET));
  const send = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/access-requests", { headers: keys, body: body(draft.reason.trim()) })),
    onSuccess: (asked) => {
      queries.setQueryData(accessRequest(asked.id).queryKey, asked);
      void queries.invalidateQueries({ queryKey: ["access"] });
      arm(asked.id);
      setTimes((times) => times + 1);
      go({ resource, request: asked.id });
    },
  });
  const keys = useOnce(`${times} ${JSON.stringify(body(draft.reason.trim()))}`, send.error);
  const outcome = foreseen.data?.decision.outcome;
  const unfit = foreseen.error instanceof Problem && foreseen.error.status === 400;
  const ready = written && draft.reason.trim() !== "" && !send.isPending && !(current && (outcome === "deny" || unfit));
  const submit = () => {
    if (ready) send.mutate();
  };

  if (all.isPending) return <Wait lines={8} />;
  if (all.error && !all.data) return <Failed error={all.error} retry={() => void all.refetch()} />;
  if (!resource)
    return (
      <Empty title="Nothing to ask for">
        <p>Policy lets you ask for a statement on no database.</p>
        <Link to="/" className="button">
          Home
        </Link>
      </Empty>
    );
  return (
    <div className="stack">
      <div className="row apart">
        <h1>Console</h1>
        <span className="hint keys">
          <kbd>Ctrl</kbd> <kbd>Enter</kbd> asks
        </span>
      </div>
      <div className="pair">
        <form
          className="card stack"
          aria-label="a statement"
          onSubmit={(event) => {
            event.preventDefault();
            submit();
          }}
        >
          <div className="console-line">
            <label className="field">
              <span>Database</span>
              <select className="input" value={resource} onChange={(event) => go({ resource: event.target.value, request })}>
                {candidates.map((each) => (
                  <option key={each.name}>{each.name}</option>
                ))}
              </select>
            </label>
            <label className="field">
              <span>To be run within</span>
              <select className="input" value={draft.lasts} onChange={(event) => change({ lasts: event.target.value })}>
                {LASTS.map((each) => (
                  <option key={each}>{each}</option>
                ))}
              </select>
            </label>
          </div>
          <div className="field">
            <span aria-hidden="true">The statement</span>
            <Editor label="The statement" value={draft.text} onChange={(text) => change({ text })} names={names} onRun={submit} />
            <small>It runs once, exactly as it stands here. Names are completed from what you asked before.</small>
          </div>
          <label className="field">
            <span>Why</span>
            <input className="input" required maxLength={2000} value={draft.reason} onChange={(event) => change({ reason: event.target.value })} autoComplete="off" />
            <small>Approvers read this as your words.</small>
          </label>
          {written && foreseen.data && !foreseen.error && <Verdict of={foreseen.data} />}
          {send.error && <Failed error={send.error} />}
          <button type="submit" className="button first" disabled={!ready}>
            {send.isPending ? "One moment…" : outcome === "allow" && written ? "Run" : "Ask for approval"}
          </button>
        </form>
        <section className="card section" aria-label="details" aria-busy={written && !current}>
          <h2>What the gateway understands</h2>
          {!written ? (
            <p className="quiet">Write a statement: it is parsed as you write, and nothing else happens.</p>
          ) : unfit && foreseen.error instanceof Problem ? (
            // Half a statement is nothing to be alarmed about.
            <div className="note" data-testid="foreseen">
              <strong>Not understood as it stands.</strong>{" "}
              <Shown text={foreseen.error.body.why ?? foreseen.error.message} />
            </div>
          ) : foreseen.error ? (
            <Failed error={foreseen.error} />
          ) : foreseen.data ? (
            <Foreseen of={foreseen.data} text={undefined} />
          ) : (
            <Wait />
          )}
        </section>
      </div>
      {request && (
        <Asked
          key={request}
          id={request}
          armed={armed === request}
          close={() => go({ resource, request: undefined })}
          again={(text) => change({ text })}
        />
      )}
      <Earlier all={earlier} choose={(of) => (change({ text: sqlOf(of) ?? "", reason: of.reason }), go({ resource: of.resource, request }), scrollTo({ top: 0 }))} />
    </div>
  );
}

/** What was asked for: waits, runs it once when it may, shows what came back. */
function Asked({ id, armed, close, again }: { id: string; armed: boolean; close: () => void; again: (text: string) => void }) {
  const line = useLine();
  const { data: who } = useQuery(whoami);
  const query = useQuery({ ...accessRequest(id), refetchInterval: ({ state }) => (line.up === false && state.data?.state === "pending" ? WITHOUT_NEWS_MS : false) });
  const { result, running, run } = useRun();
  const begun = useRef(false);
  const request = query.data;
  const isMine = request !== undefined && who?.name === request.requester && sqlOf(request) !== undefined;
  const readyToRun = isMine && request.state === "ready";
  const start = () => {
    // Once, whatever else happens: the gateway would refuse a second time.
    if (begun.current) return;
    begun.current = true;
    void run(id);
  };
  useEffect(() => {
    if (armed && readyToRun) start();
  });
  const top = useRef<HTMLElement>(null);
  useEffect(() => {
    if (armed) top.current?.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }, [armed, result !== undefined]);
  const cancel = useMutation({ mutationFn: () => answer(api.POST("/api/v1/access-requests/{id}/cancel", { params: { path: { id } }, headers: once() })), onSettled: () => void query.refetch() });

  if (!request)
    return (
      <section className="card" aria-label="the access request">
        {query.error ? (
          query.error instanceof Problem && [400, 404].includes(query.error.status) ? (
            <Empty title="Nothing to see here">
              <p>There is no access request {id}, or it is not yours to know of.</p>
            </Empty>
          ) : (
            <Failed error={query.error} retry={() => void query.refetch()} />
          )
        ) : (
          <Wait />
        )}
      </section>
    );
  const text = sqlOf(request);
  return (
    <section className="card stack asked" ref={top} aria-label="the access request" data-testid="asked">
      <div className="row apart">
        <span className="row">
          <State of={running ? "claimed" : request.state} />
          <Link to="/access-requests/$id" params={{ id }} className="mono">
            {id}
          </Link>
          <span className="quiet">
            on <Shown text={request.resource} />, asked <Ago at={request.asked_at} />
          </span>
        </span>
        <span className="row">
          {request.state === "pending" && isMine && (
            <button type="button" className="button small" disabled={cancel.isPending} onClick={() => cancel.mutate()}>
              Withdraw
            </button>
          )}
          {text !== undefined && (
            <button type="button" className="button small" onClick={() => again(text)}>
              Edit as new
            </button>
          )}
          {request.state !== "pending" && !running && (
            <button type="button" className="button small" onClick={close}>
              Close
            </button>
          )}
        </span>
      </div>
      {text !== undefined && <Sql text={text} />}
      <div aria-live="polite" className="stack">
        {request.state === "pending" && (
          <p>
            Waits for {request.quorum ?? "approval"}
            {request.eligible.length > 0 && (
              <>
                : <Shown text={request.eligible.join(", ")} /> may
              </>
            )}
            {request.deadline && (
              <>
                ; <Left until={request.deadline} over="too late to decide" />
              </>
            )}
            . {armed ? "It runs by itself as soon as it is approved, while this page is open." : "When it is approved you can run it here."}
          </p>
        )}
        {cancel.error && <Failed error={cancel.error} />}
        {readyToRun && !armed && !running && !result && (
          <div className="row">
            <button type="button" className="button first" onClick={start}>
              Run it now, once
            </button>
            <span className="hint">What was approved runs; it can’t be run a second time.</span>
          </div>
        )}
        {!["pending", "ready", "claimed"].includes(request.state) && !result && request.state_text && (
          <p className={`note ${["settled"].includes(request.state) ? "" : "warn"}`}>
            <Shown text={request.state_text} />
          </p>
        )}
      </div>
      {running && !result && <Wait lines={2} />}
      {result && <Results of={result} name={id} running={running} />}
      {request.state === "settled" && !result && <p className="hint">What came back was shown once, where it was run; it is not kept.</p>}
    </section>
  );
}

/** What one asked before, to be taken up again. */
function Earlier({ all, choose }: { all: AccessRequest[]; choose: (of: AccessRequest) => void }) {
  const texts = new Set<string>();
  const statements = all.filter((each) => {
    const text = sqlOf(each);
    const key = `${each.resource}\n${text}`;
    return text !== undefined && !texts.has(key) && texts.add(key);
  });
  if (statements.length === 0) return null;
  return (
    <section className="section" aria-label="earlier statements">
      <h2>Your earlier statements</h2>
      <ul className="card rows">
        {statements.slice(0, EARLIER).map((each) => (
          <li key={each.id}>
            <button type="button" className="item" onClick={() => choose(each)} aria-label={`use again: ${sqlOf(each)?.slice(0, 120)}`}>
              <span className="line">
                <Shown text={(sqlOf(each) ?? "").replace(/\s+/g, " ").trim()} />
              </span>
              <span className="row quiet">
                <State of={each.state} /> <Operations of={each.operations} /> on <Shown text={each.resource} />, <Ago at={each.asked_at} />
              </span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
