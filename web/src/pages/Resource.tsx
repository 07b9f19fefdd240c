// Asking: one short form that says what policy will do before anything is sent. Looking asks nobody and stores nothing.
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link, useRouter } from "@tanstack/react-router";
import { useState } from "react";
import { answer, api, type Ask } from "../api/client";
import { useOnce } from "../api/once";
import { preview, resources } from "../api/queries";
import { Foreseen, NO_WORDS_YET, useLater, Verdict } from "../request/Foreseen";
import { useTitle } from "../shell/Shell";
import { Empty, Failed, Wait } from "../ui/feedback";
import { Shown } from "../ui/text";

const route = getRouteApi("/signed-in/resources/$name");
const DURATIONS = ["5m", "15m", "30m", "1h", "2h", "4h", "8h"];

export default function ResourcePage() {
  const { name } = route.useParams();
  useTitle(`Ask for ${name}`);
  const { data, error, isPending, refetch } = useQuery(resources);
  const resource = data?.find((each) => each.name === name);
  const [kind, setKind] = useState<"window" | "sql">("window");
  const [chosen, setChosen] = useState<string[]>();
  const [text, setText] = useState("");
  const [lasts, setLasts] = useState("15m");
  const [reason, setReason] = useState("");
  const [ticket, setTicket] = useState("");
  const router = useRouter();
  const queries = useQueryClient();

  const windows = resource?.operations.filter((operation) => !operation.exact) ?? [];
  const operations = chosen ?? windows.filter((operation) => operation.operation === "read").map((operation) => operation.operation);
  const body = (words: string): Ask => ({
    resource: name,
    what: kind === "window" ? { kind: "window", operations } : { kind: "sql", text },
    reason: words,
    ...(ticket.trim() && { ticket: ticket.trim() }),
    duration: lasts,
  });
  const complete = isComplete(body("").what);
  const asked = useLater(JSON.stringify(body(reason.trim() || NO_WORDS_YET)), 250);
  const toForesee = JSON.parse(asked) as Ask;
  const foreseen = useQuery({ ...preview(toForesee), enabled: complete && isComplete(toForesee.what) && resource !== undefined, placeholderData: keepPreviousData });
  const send = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/access-requests", { headers: keys, body: body(reason.trim()) })),
    onSuccess: (request) => {
      queries.setQueryData(["access", "one", request.id], request);
      void queries.invalidateQueries({ queryKey: ["access"] });
      void router.navigate({ to: "/access-requests/$id", params: { id: request.id } });
    },
  });
  const keys = useOnce(JSON.stringify(body(reason.trim())), send.error);

  if (isPending) return <Wait lines={8} />;
  if (error && !data) return <Failed error={error} retry={() => void refetch()} />;
  if (!resource)
    return (
      <Empty title="Nothing to ask for">
        <p>There is no resource {name}, or policy lets you ask nothing of it.</p>
        <Link to="/" className="button">
          Home
        </Link>
      </Empty>
    );
  const denied = foreseen.data?.decision.outcome === "deny";
  return (
    <div className="pair">
      <form
        className="card stack"
        aria-label={`ask for ${name}`}
        onSubmit={(event) => {
          event.preventDefault();
          if (!send.isPending) send.mutate();
        }}
      >
        <header>
          <h1>
            Ask for <Shown text={resource.name} />
          </h1>
          <p className="quiet">
            <Shown text={resource.description} />
          </p>
        </header>
        <div className="tabs" role="group" aria-label="what">
          <button type="button" aria-pressed={kind === "window"} onClick={() => setKind("window")}>
            For a while
          </button>
          <button type="button" aria-pressed={kind === "sql"} onClick={() => setKind("sql")}>
            One statement
          </button>
        </div>
        {kind === "window" ? (
          <fieldset>
            <legend>To do what</legend>
            {windows.map((operation) => (
              <label key={operation.operation} className="choice">
                <input
                  type="checkbox"
                  checked={operations.includes(operation.operation)}
                  onChange={(event) => setChosen(event.target.checked ? [...operations, operation.operation] : operations.filter((other) => other !== operation.operation))}
                />
                <span className="strong">{operation.operation}</span>
                <span className="quiet">
                  {operation.outcome === "allow" ? "at once" : `needs ${operation.quorum}`}
                  {operation.max_duration && `, at most ${operation.max_duration}`}
                </span>
              </label>
            ))}
          </fieldset>
        ) : (
          <label className="field">
            <span>The statement</span>
            <textarea className="input mono" rows={5} value={text} onChange={(event) => setText(event.target.value)} spellCheck={false} autoCapitalize="none" />
            <small>It runs once, exactly as it stands here. Nothing touches the database before it is approved.</small>
          </label>
        )}
        <label className="field">
          <span>{kind === "window" ? "For how long" : "To be run within"}</span>
          <select className="input" value={lasts} onChange={(event) => setLasts(event.target.value)}>
            {DURATIONS.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>Why</span>
          <input className="input" required maxLength={2000} value={reason} onChange={(event) => setReason(event.target.value)} autoComplete="off" />
          <small>Approvers read this as your words.</small>
        </label>
        <label className="field">
          <span>
            Ticket <span className="quiet">if there is one</span>
          </span>
          <input className="input" maxLength={2000} value={ticket} onChange={(event) => setTicket(event.target.value)} autoComplete="off" />
        </label>
        {complete && foreseen.data && <Verdict of={foreseen.data} />}
        {send.error && <Failed error={send.error} />}
        <button type="submit" className="button first" disabled={send.isPending || !complete || reason.trim() === "" || denied}>
          {send.isPending ? "One moment…" : foreseen.data?.decision.outcome === "need_approval" ? "Ask for approval" : "Ask"}
        </button>
      </form>
      <section className="card section" aria-label="details">
        <h2>Why it will do that</h2>
        {!complete ? (
          <p className="quiet">{kind === "window" ? "Choose an operation." : "Write a statement."}</p>
        ) : foreseen.error ? (
          <Failed error={foreseen.error} />
        ) : foreseen.data ? (
          <Foreseen of={foreseen.data} text={kind === "sql" ? text : undefined} />
        ) : (
          <Wait />
        )}
      </section>
    </div>
  );
}

const isComplete = (what: Ask["what"]) => (what.kind === "window" ? what.operations.length > 0 : what.text.trim() !== "");
