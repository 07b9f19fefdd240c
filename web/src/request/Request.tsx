// An access request as whoever decides it must see it: what would run, what the gateway derived from it, what the requester said, in this order.
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { rendering } from "virtual:rendering";
import { Fragment, type ReactNode } from "react";
import type { AccessRequest, Facts } from "../api/client";
import { earlier } from "../api/queries";
import { Sql } from "../sql/Sql";
import { Operations, State } from "../ui/state";
import { Shown, Words } from "../ui/text";
import { Ago, At, fromMicros, Left } from "../ui/time";
import { Estimated, isEstimated } from "./Estimated";
import { changeText, duration, envelopeOf, levelText, oneLine, quorumText, useChecked, type Action, type Envelope } from "./envelope";

export function Request({ request }: { request: AccessRequest }) {
  const envelope = envelopeOf(request);
  const pending = request.state === "pending";
  return (
    <>
      <header className="stack">
        <div className="row apart">
          <h1>
            <Shown text={envelope.requester} /> <span className="quiet">→</span> <Shown text={envelope.resource} />
          </h1>
          <State of={request.state} />
        </div>
        <p className="quiet">
          asked <Ago at={request.asked_at} />
          {pending && request.deadline && (
            <>
              , <Left until={request.deadline} over="too late to decide" /> to decide
            </>
          )}
          {!pending && request.state_text && (
            <>
              ; <Shown text={request.state_text} />
            </>
          )}
        </p>
      </header>
      <Check request={request} />
      <Section title={envelope.scope.scope === "exact" ? "What would run, once" : "What it would allow"}>
        <What envelope={envelope} secondLock={request.second_lock ?? false} />
      </Section>
      {request.facts && (
        <Section title="What the gateway derived from it">
          <Derived facts={request.facts} rows={isEstimated(request) && <Estimated id={request.id} />} />
        </Section>
      )}
      <div className="section">
        <Words text={envelope.asked.reason} by={envelope.requester} />
        {envelope.asked.ticket !== null && (
          <p>
            <span className="quiet">and named the ticket</span> “<Shown text={envelope.asked.ticket} />”
          </p>
        )}
      </div>
      <Section title="Who decides">
        <Policy request={request} envelope={envelope} />
      </Section>
      <Earlier request={request} />
      <Section title="The fine print">
        <FinePrint request={request} envelope={envelope} />
        <Lines envelope={envelope} />
      </Section>
    </>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="section">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

/** Stands in front of everything if what is shown is not what would be approved. */
function Check({ request }: { request: AccessRequest }) {
  const { same } = useChecked(request);
  if (same !== false) return null;
  return (
    <div className="note bad" role="alert">
      <strong>Do not trust this page.</strong> What it got to show is not what the gateway says it is: the digests differ. Nothing can be approved here. Tell whoever runs the gateway.
    </div>
  );
}

function What({ envelope, secondLock }: { envelope: Envelope; secondLock: boolean }) {
  const { scope } = envelope;
  if (scope.scope === "exact") return <TheAction action={scope.action} />;
  const narrow = Object.entries(scope.narrow ?? {}).filter(([, names]) => names.length > 0);
  return (
    <dl className="facts">
      <dt>operations</dt>
      <dd>
        <Operations of={scope.operations} />
      </dd>
      <dt>on</dt>
      <dd>
        <Shown text={envelope.resource} />
        {narrow.length === 0 ? ", all of it" : ""}
      </dd>
      {narrow.map(([kind, names]) => (
        <div key={kind} className="row">
          <dt>only {kind}</dt>
          <dd className="mono">
            <Shown text={names.join(", ")} />
          </dd>
        </div>
      ))}
      {narrow.some(([kind]) => kind !== "databases") && (
        <>
          <dt>kept by</dt>
          <dd>{secondLock ? "the gateway, which reads statements, and by rights on nothing else in the database" : "the gateway only, which reads statements; not by rights in the database"}</dd>
        </>
      )}
      <dt>for</dt>
      <dd>
        <strong className="strong">{duration(envelope.duration)}</strong> {envelope.origin.origin === "extension" ? "longer" : "once it starts; nothing makes it longer but a new access request"}
      </dd>
      {scope.operations.includes("unrestricted") && (
        <>
          <dt>beware</dt>
          <dd className="note bad">unrestricted: everything passes, understood or not</dd>
        </>
      )}
    </dl>
  );
}

export function TheAction({ action }: { action: Action }) {
  if (action.kind === "administration") return <p className="note strong">{<Shown text={changeText(action)} />}</p>;
  const settings = Object.entries(action.settings);
  return (
    <>
      <Sql text={action.text} />
      <dl className="facts">
        <dt>database</dt>
        <dd className="mono">
          <Shown text={action.database} />
        </dd>
        {action.parameters.map((parameter, at) => (
          <div key={at} className="row">
            <dt className="mono">${at + 1}</dt>
            <dd className="mono">{parameter.shown === null ? <em>NULL</em> : <Shown text={parameter.shown} />}</dd>
          </div>
        ))}
        {settings.map(([name, value]) => (
          <div key={name} className="row">
            <dt className="mono">
              <Shown text={name} />
            </dt>
            <dd className="mono">
              <Shown text={value} />
            </dd>
          </div>
        ))}
        {action.copy_data && (
          <>
            <dt>with data</dt>
            <dd className="mono">
              <Shown text={JSON.stringify(action.copy_data)} />
            </dd>
          </>
        )}
      </dl>
    </>
  );
}

/** What parsing says. `rows` is what is known besides of how many rows it may touch. */
export function Derived({ facts, rows }: { facts: Facts; rows: ReactNode }) {
  const everyRow = facts.statements.some((statement) => statement.has_where === false);
  return (
    <div className="stack">
      {facts.unparsable && (
        <div className="note bad">
          <strong>Not understood.</strong> <Shown text={facts.unparsable} />
        </div>
      )}
      {everyRow && (
        <div className="note warn">
          <strong>No WHERE.</strong> It touches every row.
        </div>
      )}
      <dl className="facts">
        <dt>needs</dt>
        <dd>
          <Operations of={facts.operations} />
        </dd>
        {facts.statements.map((statement, at) => (
          <div key={at} className="facts-of">
            <dt>{facts.statements.length > 1 ? `statement ${at + 1}` : "does"}</dt>
            <dd className="mono">
              <Shown text={statement.line} />
            </dd>
            {statement.objects.length > 0 && (
              <>
                <dt>touches</dt>
                <dd className="mono">
                  <Shown text={statement.objects.join(", ")} />
                </dd>
              </>
            )}
            {statement.functions.length > 0 && (
              <>
                <dt>calls</dt>
                <dd className="mono">
                  <Shown text={statement.functions.join(", ")} />
                </dd>
              </>
            )}
            {statement.has_where != null && (
              <>
                <dt>where</dt>
                <dd>{statement.has_where ? "only rows that a condition picks" : "no condition"}</dd>
              </>
            )}
            {statement.why.length > 0 && (
              <>
                <dt>because</dt>
                <dd>
                  <Shown text={statement.why.join("; ")} />
                </dd>
              </>
            )}
          </div>
        ))}
        {rows && (
          <>
            <dt>rows</dt>
            {rows}
          </>
        )}
      </dl>
    </div>
  );
}

function Policy({ request, envelope }: { request: AccessRequest; envelope: Envelope }) {
  return (
    <dl className="facts">
      {envelope.quorum && (
        <>
          <dt>it takes</dt>
          <dd>
            {quorumText(envelope.quorum)}
            {levelText(request.level)}
            {request.quorum_missing != null && request.approvals.length > 0 && `; ${request.quorum_missing} more to come`}
          </dd>
        </>
      )}
      {request.eligible.length > 0 && (
        <>
          <dt>these may</dt>
          <dd>
            <Shown text={request.eligible.join(", ")} />
          </dd>
        </>
      )}
      {request.approvals.map((approval) => (
        <div key={approval.approver} className="row">
          <dt>approved by</dt>
          <dd>
            <Shown text={approval.approver} />, <At at={approval.at} />
            {approval.key && (
              <>
                , signed with <span className="mono">{approval.key}</span>
              </>
            )}
            {approval.comment && (
              <>
                : “<Shown text={approval.comment} />”
              </>
            )}
          </dd>
        </div>
      ))}
      <dt>policy</dt>
      <dd>
        {request.decision.outcome.replace("_", " ")}
        <ul>
          {request.decision.reasons.map((reason, at) => (
            <li key={at} className="quiet">
              <Shown text={reason.text} />
            </li>
          ))}
        </ul>
      </dd>
    </dl>
  );
}

function Earlier({ request }: { request: AccessRequest }) {
  const { data } = useQuery(earlier(request.requester, request.resource));
  const others = data?.filter((other) => other.id !== request.id).slice(0, 5);
  if (!others) return null;
  return (
    <Section title={`${request.requester} on ${request.resource} before`}>
      {others.length === 0 ? (
        <p className="quiet">Nothing else that you may know of.</p>
      ) : (
        <ul className="earlier">
          {others.map((other) => (
            <li key={other.id}>
              <State of={other.state} />
              <Link to="/access-requests/$id" params={{ id: other.id }} className="mono">
                <Shown text={short(oneLine(envelopeOf(other)))} />
              </Link>
              <span className="quiet">
                <Ago at={other.asked_at} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

/** Cut for a list, and said to be. */
const short = (text: string) => (text.length > 80 ? `${text.slice(0, 80)} … (${text.length - 80} more characters)` : text);

function FinePrint({ request, envelope }: { request: AccessRequest; envelope: Envelope }) {
  const { same } = useChecked(request);
  return (
    <dl className="facts">
      <dt>access request</dt>
      <dd>
        <Link to="/access-requests/$id" params={{ id: request.id }} className="mono">
          {request.id}
        </Link>
      </dd>
      <dt>asked</dt>
      <dd>
        <At at={request.asked_at} /> from <span className="mono"><Shown text={envelope.asked.source} /></span>, signed in by {envelope.asked.sign_in}; a {envelope.requester_kind}
      </dd>
      {Object.keys(envelope.asked.claims ?? {}).length > 0 && (
        <>
          <dt>{envelope.requester_kind === "person" ? "sign-in says" : "its token says"}</dt>
          <dd className="mono">
            <Shown text={Object.entries(envelope.asked.claims ?? {}).map(([name, value]) => `${name}=${value}`).join(", ")} />
          </dd>
        </>
      )}
      {envelope.origin.origin === "held" && (
        <>
          <dt>held in</dt>
          <dd>
            session <span className="mono">{envelope.origin.session}</span>
            {envelope.origin.in_transaction && ", inside a transaction"}: it waits there, and an approval is for that session only
          </dd>
        </>
      )}
      {envelope.origin.origin === "extension" && (
        <>
          <dt>makes longer</dt>
          <dd className="mono">{envelope.origin.of}</dd>
        </>
      )}
      {envelope.starts_at !== null && (
        <>
          <dt>starts</dt>
          <dd>
            not before <At at={fromMicros(envelope.starts_at)} />
          </dd>
        </>
      )}
      <dt>digest</dt>
      <dd>
        <span className="digest" data-testid="digest">
          {request.digest}
        </span>
        <br />
        {same === undefined ? <span className="quiet">is being worked out</span> : same ? <span className="state whole good">✓ worked out in this browser from what you see</span> : <span className="state bad">✗ not of what you see</span>}
      </dd>
    </dl>
  );
}

/** All that an approval is for, nothing left out and nothing added. */
function Lines({ envelope }: { envelope: Envelope }) {
  return (
    <details>
      <summary>Line by line, as the command line and the page that signs show it</summary>
      <dl className="facts" data-testid="lines">
        {rendering(envelope).map(([label, value], at) => (
          <Fragment key={at}>
            <dt>
              <Shown text={label} />
            </dt>
            <dd className="mono lines">
              <Shown text={value} />
            </dd>
          </Fragment>
        ))}
      </dl>
    </details>
  );
}
