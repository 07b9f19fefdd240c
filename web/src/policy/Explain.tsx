// Why policy answers as it does: somebody, something, a time; then the decision, the policies that made it, and what would have to be true.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { answer, api } from "../api/client";
import { resources, whoami } from "../api/queries";
import { quorumText, type Envelope } from "../request/envelope";
import { useLater } from "../request/Foreseen";
import { Failed, Wait } from "../ui/feedback";
import { State } from "../ui/state";
import { Shown } from "../ui/text";

interface Place {
  policy_id: string;
  file: string;
  line: number;
}
interface Explanation {
  decision: { reasons: { policy_id: string; effect: string; text: string }[]; obligations: { max_duration?: number; record?: string; audit?: string; level?: string } };
  operations: {
    operation: string;
    implied: boolean;
    outcome: "allow" | "need_approval" | "deny" | "error";
    quorum: Envelope["quorum"];
    permits: Place[];
    forbids: Place[];
    near_misses: (Place & { keyword: string; condition: string })[];
    errors: string[];
  }[];
}

const ON_RESOURCES = ["read", "write", "ddl", "temp", "admin", "unknown", "unrestricted"];
const ON_THE_GATEWAY = ["manage_people", "manage_groups", "manage_workloads", "apply_policy", "end_access", "audit"];
const GATEWAY = "safeconduct";
const LASTS = ["1m", "15m", "30m", "1h", "2h", "4h", "8h"];
const WORDS: Record<string, [state: string, tone: string]> = { allow: ["Allowed.", "good"], need_approval: ["Needs approval.", "warn"], deny: ["Refused.", "bad"] };

export function Explain({ files }: { files: readonly string[] | undefined }) {
  const { data: who } = useQuery(whoami);
  const mine = useQuery(resources);
  const people = useQuery({ queryKey: ["principals"], queryFn: () => answer(api.GET("/api/v1/principals")), enabled: who?.audits === true });
  const [principal, setPrincipal] = useState("");
  const [chosen, setChosen] = useState("");
  const [operations, setOperations] = useState<string[]>(["read"]);
  const [exact, setExact] = useState(false);
  const [text, setText] = useState("");
  const [lasts, setLasts] = useState("15m");
  const [ticket, setTicket] = useState("");
  const [at, setAt] = useState("");

  // Auditors may ask of everything in the bundle; others of what they may ask for.
  const known = files ? [...files.flatMap((path) => /^resources\/(.+)\.toml$/.exec(path)?.[1] ?? []), GATEWAY] : (mine.data ?? []).map((each) => each.name);
  const resource = known.includes(chosen) ? chosen : (known[0] ?? "");
  const possible = resource === GATEWAY ? ON_THE_GATEWAY : ON_RESOURCES;
  const picked = operations.filter((operation) => possible.includes(operation));
  const when = at === "" ? undefined : new Date(at);
  const question = {
    resource,
    operations: picked,
    exact: exact || text.trim() !== "" || resource === GATEWAY,
    reason: "to be explained",
    duration: lasts,
    ...(principal.trim() && { principal: principal.trim() }),
    ...(text.trim() && resource !== GATEWAY && { text }),
    ...(ticket.trim() && { ticket: ticket.trim() }),
    ...(when && !Number.isNaN(when.getTime()) && { at: when.toISOString() }),
  };
  const later = useLater(JSON.stringify(question), 300);
  const asked = JSON.parse(later) as typeof question;
  const complete = resource !== "" && (picked.length > 0 || "text" in question);
  const explained = useQuery({
    queryKey: ["explain", asked],
    queryFn: () => answer(api.POST("/api/v1/policy/explain", { body: asked })),
    enabled: complete && asked.resource !== "" && (asked.operations.length > 0 || "text" in asked),
    placeholderData: keepPreviousData,
  });

  return (
    <div className="pair">
      <form className="card ask-policy" aria-label="a question to policy" onSubmit={(event) => event.preventDefault()}>
        <div className="two">
          <label className="field">
            <span>Who</span>
            <input className="input" list="principals" value={principal} placeholder={who?.name} disabled={who?.audits !== true} onChange={(event) => setPrincipal(event.target.value)} autoComplete="off" spellCheck={false} />
            {who?.audits !== true && <small>You may ask about yourself; auditors about everybody.</small>}
          </label>
          <datalist id="principals">
            {people.data?.map((each) => (
              <option key={each.name} value={each.name} />
            ))}
          </datalist>
          <label className="field">
            <span>On what</span>
            <select className="input" value={resource} onChange={(event) => setChosen(event.target.value)}>
              {known.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        </div>
        <fieldset>
          <legend>To do what</legend>
          <div className="choices">
            {possible.map((operation) => (
              <label key={operation} className="choice">
                <input
                  type="checkbox"
                  checked={picked.includes(operation)}
                  onChange={(event) => setOperations(event.target.checked ? [...picked, operation] : picked.filter((other) => other !== operation))}
                />
                <span>{operation}</span>
              </label>
            ))}
          </div>
        </fieldset>
        {resource !== GATEWAY && (
          <>
            <label className="field">
              <span>
                A statement <span className="quiet">if it is about one: what it needs is added</span>
              </span>
              <textarea className="input mono" rows={2} value={text} onChange={(event) => setText(event.target.value)} spellCheck={false} autoCapitalize="none" />
            </label>
            <label className="choice">
              <input type="checkbox" checked={question.exact} disabled={text.trim() !== ""} onChange={(event) => setExact(event.target.checked)} />
              <span>one exact action, not a while</span>
            </label>
          </>
        )}
        <div className="two">
          <label className="field">
            <span>For how long</span>
            <select className="input" value={lasts} onChange={(event) => setLasts(event.target.value)}>
              {LASTS.map((each) => (
                <option key={each}>{each}</option>
              ))}
            </select>
          </label>
          <label className="field">
            <span>
              When <span className="quiet">now, if not said</span>
            </span>
            <input className="input" type="datetime-local" value={at} onChange={(event) => setAt(event.target.value)} />
          </label>
          <label className="field">
            <span>
              Ticket <span className="quiet">if there is one</span>
            </span>
            <input className="input" value={ticket} maxLength={2000} onChange={(event) => setTicket(event.target.value)} autoComplete="off" />
          </label>
        </div>
        <p className="hint">Asking this asks nobody and changes nothing.</p>
      </form>
      <section className="card stack" aria-label="the answer" aria-live="polite" data-testid="explained">
        <h2>The answer</h2>
        {!complete ? (
          <p className="quiet">{resource === "" ? "There is nothing that you may ask for." : "Choose an operation, or write a statement."}</p>
        ) : explained.error ? (
          <Failed error={explained.error} />
        ) : explained.data ? (
          <Answer outcome={explained.data.outcome} of={explained.data.explanation as unknown as Explanation} files={files} />
        ) : (
          <Wait />
        )}
      </section>
    </div>
  );
}

function Answer({ outcome, of, files }: { outcome: string; of: Explanation; files: readonly string[] | undefined }) {
  const [word, tone] = WORDS[outcome] ?? [outcome, ""];
  const { reasons, obligations } = of.decision;
  return (
    <>
      <div className={`note ${tone}`}>
        <strong>{word}</strong>
        <ul>
          {reasons.map((reason, at) => (
            <li key={at}>
              <Shown text={reason.text} />
            </li>
          ))}
        </ul>
      </div>
      {of.operations.map((operation) => (
        <section key={operation.operation} className="section" aria-label={operation.operation}>
          <div className="row">
            <span className="chip">{operation.operation}</span>
            <State of={operation.outcome === "error" ? "failed" : operation.outcome} />
            {operation.implied && <span className="quiet">because unrestricted would let it through</span>}
          </div>
          {operation.quorum && <p>It takes {quorumText(operation.quorum)}.</p>}
          <ul className="places">
            {operation.forbids.map((place) => (
              <li key={`f${place.policy_id}`}>
                forbidden{operation.quorum ? ", unless approved," : ""} by <At place={place} files={files} />
              </li>
            ))}
            {operation.permits.map((place) => (
              <li key={`p${place.policy_id}`}>
                permitted by <At place={place} files={files} />
              </li>
            ))}
            {operation.near_misses.map((miss) => (
              <li key={`n${miss.policy_id}`}>
                <At place={miss} files={files} /> would permit it {miss.keyword === "when" ? "if" : "unless"} <code className="condition"><Shown text={miss.condition} /></code>
                {miss.keyword === "when" ? " were true" : ", which is true"}
              </li>
            ))}
            {operation.errors.map((error, at) => (
              <li key={at} className="note bad">
                a policy failed, so it is denied: <Shown text={error} />
              </li>
            ))}
            {operation.permits.length + operation.forbids.length + operation.near_misses.length + operation.errors.length === 0 && (
              <li className="quiet">No policy speaks of it for this person: what nothing permits is refused.</li>
            )}
          </ul>
        </section>
      ))}
      {outcome !== "deny" && (
        <p className="hint">
          {obligations.max_duration !== undefined && `For at most ${obligations.max_duration / 60} min. `}
          {obligations.record === "full" ? "Recorded in full." : "Statements are recorded."}
          {obligations.audit === "strict" && " Each is on disk before it runs."}
          {obligations.level && obligations.level !== "recorded" && ` Approvals count ${obligations.level === "signed" ? "signed" : "signed with a passkey or security key"} alone.`}
        </p>
      )}
    </>
  );
}

/** A policy, and where it stands for those who may read it. */
function At({ place, files }: { place: Place; files: readonly string[] | undefined }): ReactNode {
  const name = <code>{place.policy_id}</code>;
  if (!files?.includes(place.file)) return name;
  return (
    <Link to="/policy" search={{ show: "text", file: place.file, line: place.line }}>
      {name} <span className="nowrap">({`${place.file}:${place.line}`})</span>
    </Link>
  );
}
