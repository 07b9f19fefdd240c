// What I may do now, what I asked for, and what I may ask for.
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { answer, api, once, type AccessRequest, type Door, type Resource } from "../api/client";
import { useOnce } from "../api/once";
import { grants, mine, resources } from "../api/queries";
import { duration, envelopeOf, oneLine } from "../request/envelope";
import { useTitle } from "../shell/Shell";
import { Copy, Dialog, Empty, Failed, Older, toast, Wait } from "../ui/feedback";
import { Operations, State } from "../ui/state";
import { Shown } from "../ui/text";
import { Ago, At, Left, Ring } from "../ui/time";

export default function Home() {
  useTitle("Home");
  return (
    <div className="stack wide">
      <Grants />
      <Catalogue />
      <Asked />
    </div>
  );
}

function Grants() {
  const { data, error, isPending, refetch } = useQuery(grants);
  return (
    <section className="section">
      <h1>What you may do now</h1>
      {isPending ? (
        <Wait />
      ) : error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : data.length === 0 ? (
        <Empty title="Nothing">
          <p>Nobody holds a right here longer than it takes. Ask for what you need below.</p>
        </Empty>
      ) : (
        <ul className="grid">
          {data.map((grant) => (
            <li key={grant.id}>
              <Grant grant={grant} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Grant({ grant }: { grant: AccessRequest }) {
  const [dialog, setDialog] = useState<"connect" | "extend">();
  const queries = useQueryClient();
  const envelope = envelopeOf(grant);
  const release = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/grants/{id}/release", { params: { path: { id: grant.grant } }, headers: once() })),
    onSuccess: () => {
      toast("Given back");
      void queries.invalidateQueries({ queryKey: ["access"] });
    },
  });
  const active = grant.state === "active";
  const started = active && grant.deadline ? new Date(Date.parse(grant.deadline) - envelope.duration * 1000).toISOString() : grant.asked_at;
  return (
    <article className="card grant" aria-label={`grant on ${grant.resource}`}>
      <div className="row">
        {grant.deadline && <Ring from={started} until={grant.deadline} />}
        <div className="grow">
          <Link to="/access-requests/$id" params={{ id: grant.id }} className="strong">
            <Shown text={grant.resource} />
          </Link>
          <div className="row">
            <State of={grant.state} />
            <span className="quiet">{grant.deadline && <Left until={grant.deadline} />}</span>
          </div>
        </div>
      </div>
      {grant.exact ? (
        <code className="clip">
          <Shown text={oneLine(envelope)} />
        </code>
      ) : (
        <Operations of={grant.operations} />
      )}
      <div className="row">
        {active && !grant.exact && (
          <button type="button" className="button small first" onClick={() => setDialog("connect")}>
            Connect…
          </button>
        )}
        {grant.exact && grant.state === "ready" && (
          <Link to="/access-requests/$id" params={{ id: grant.id }} className="button small first">
            Run…
          </Link>
        )}
        {active && !grant.exact && (
          <button type="button" className="button small" onClick={() => setDialog("extend")}>
            Longer…
          </button>
        )}
        <button type="button" className="button small" disabled={release.isPending} onClick={() => release.mutate()}>
          Give back
        </button>
      </div>
      {release.error && <Failed error={release.error} />}
      {dialog === "connect" && <Connect resource={grant.resource} close={() => setDialog(undefined)} />}
      {dialog === "extend" && <Extend grant={grant} close={() => setDialog(undefined)} />}
    </article>
  );
}

/** How to come through the door, from a terminal and from a program with windows. */
function Connect({ resource, close }: { resource: string; close: () => void }) {
  const [secretShown, setSecretShown] = useState(false);
  const door = useMutation({ mutationFn: () => answer(api.POST("/api/v1/resources/{name}/connect", { params: { path: { name: resource } }, body: {} })) });
  const command = `safeconduct connect ${resource}`;
  return (
    <Dialog title={`Connect to ${resource}`} onClose={close}>
      <div className="section">
        <h2>From a terminal</h2>
        <div className="row">
          <code className="sql grow">{command}</code>
          <Copy text={command} />
        </div>
        <p className="hint">Opens psql. Its password is kept for you, in no command line and no address.</p>
      </div>
      <div className="section">
        <h2>From DBeaver, DataGrip or a driver</h2>
        {!door.data ? (
          <div className="row">
            <button type="button" className="button" disabled={door.isPending} onClick={() => door.mutate()}>
              Make a password for it
            </button>
            <span className="hint">Yours, for this resource and this sign-in; it opens nothing without a live grant.</span>
          </div>
        ) : (
          <DoorFields door={door.data} secretShown={secretShown} show={() => setSecretShown(true)} />
        )}
        {door.error && <Failed error={door.error} />}
      </div>
      <div className="end">
        <button type="button" className="button" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

function DoorFields({ door, secretShown, show }: { door: Door; secretShown: boolean; show: () => void }) {
  const fields: [string, string][] = [
    ["host", door.host],
    ["port", String(door.port)],
    ["database", door.dbname],
    ["user", door.user],
  ];
  const authority = () => {
    const url = URL.createObjectURL(new Blob([door.ca_pem], { type: "application/x-pem-file" }));
    const link = Object.assign(document.createElement("a"), { href: url, download: "safeconduct-ca.pem" });
    link.click();
    URL.revokeObjectURL(url);
  };
  return (
    <>
      <dl className="facts">
        {fields.map(([name, value]) => (
          <div key={name} className="row">
            <dt>{name}</dt>
            <dd className="row">
              <code>
                <Shown text={value} />
              </code>
              <Copy text={value} />
            </dd>
          </div>
        ))}
        <dt>password</dt>
        <dd className="row">
          <code>{secretShown ? door.password : "••••••••••••"}</code>
          {!secretShown && (
            <button type="button" className="button small" onClick={show}>
              Show
            </button>
          )}
          <Copy text={door.password} />
        </dd>
        <dt>TLS</dt>
        <dd className="row">
          verify-full, with
          <button type="button" className="button small" onClick={authority}>
            this authority
          </button>
        </dd>
      </dl>
      {door.valid_until && (
        <p className="hint">
          Good while a grant lives, as things stand until <At at={door.valid_until} />.
        </p>
      )}
    </>
  );
}

function Extend({ grant, close }: { grant: AccessRequest; close: () => void }) {
  const [by, setBy] = useState("15m");
  const [reason, setReason] = useState("");
  const queries = useQueryClient();
  const extend = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/grants/{id}/extend", { params: { path: { id: grant.grant } }, headers: keys, body: { by, reason: reason.trim() } })),
    onSuccess: (after) => {
      void queries.invalidateQueries({ queryKey: ["access"] });
      close();
      toast(after.state === "pending" ? "Asked; somebody must approve it" : after.state === "applied" ? "Made longer" : after.state_text);
    },
  });
  const keys = useOnce(`${by} ${reason}`, extend.error);
  return (
    <Dialog title="Make it longer" onClose={close}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          extend.mutate();
        }}
      >
        <p className="quiet">This is a new access request, decided like any other. Until it is, the deadline stays.</p>
        <label className="field">
          <span>By</span>
          <select className="input" value={by} onChange={(event) => setBy(event.target.value)}>
            {["5m", "15m", "30m", "1h", "2h"].map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>Why</span>
          <input className="input" required value={reason} maxLength={2000} onChange={(event) => setReason(event.target.value)} autoComplete="off" />
        </label>
        {extend.error && <Failed error={extend.error} />}
        <div className="end">
          <button type="button" className="button" onClick={close}>
            Not now
          </button>
          <button type="submit" className="button first" disabled={extend.isPending || reason.trim() === ""}>
            Ask
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Catalogue() {
  const { data, error, isPending, refetch } = useQuery(resources);
  const [search, setSearch] = useState("");
  const wanted = search.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const found = data?.filter((resource) => wanted.every((word) => haystack(resource).includes(word))) ?? [];
  return (
    <section className="section">
      <div className="row apart">
        <h1>What you may ask for</h1>
        <input className="input search" type="search" aria-label="search resources" placeholder="Search name, label, kind" value={search} onChange={(event) => setSearch(event.target.value)} />
      </div>
      {isPending ? (
        <Wait />
      ) : error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : found.length === 0 ? (
        <Empty title={wanted.length ? "Nothing of that name" : "Nothing"}>
          <p>{wanted.length ? "Try fewer words." : "Policy lets you ask for nothing here."}</p>
        </Empty>
      ) : (
        <ul className="grid">
          {found.map((resource) => (
            <li key={resource.name}>
              <Link to="/resources/$name" params={{ name: resource.name }} className="card grant link" aria-label={`ask for ${resource.name}`}>
                <span className="row apart">
                  <span className="strong">
                    <Shown text={resource.name} />
                  </span>
                  <span className="quiet">
                    {resource.kind}, {resource.sensitivity} sensitivity
                  </span>
                </span>
                <span className="quiet">
                  <Shown text={resource.description} />
                </span>
                <span className="row">
                  {Object.entries(resource.labels).map(([name, value]) => (
                    <span key={name} className="chip">
                      <Shown text={`${name}=${value}`} />
                    </span>
                  ))}
                </span>
                <span className="hint">{summary(resource)}</span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const haystack = (resource: Resource) =>
  [resource.name, resource.kind, resource.description, resource.sensitivity, ...Object.entries(resource.labels).flat()].join(" ").toLowerCase();

function summary(resource: Resource): string {
  const names = (outcome: string) => [...new Set(resource.operations.filter((operation) => operation.outcome === outcome).map((operation) => operation.operation))];
  const at_once = names("allow");
  const approved = names("need_approval").filter((name) => !at_once.includes(name));
  return [at_once.length ? `at once: ${at_once.join(", ")}` : "", approved.length ? `with approval: ${approved.join(", ")}` : ""].filter(Boolean).join("; ");
}

function Asked() {
  const list = useInfiniteQuery(mine);
  const { data, error, isPending, refetch } = list;
  const all = data?.pages.flat() ?? [];
  return (
    <section className="section">
      <h1>What you asked for</h1>
      {isPending ? (
        <Wait />
      ) : error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : all.length === 0 ? (
        <Empty title="Nothing yet" />
      ) : (
        <ul className="card rows">
          {all.map((request) => (
            <li key={request.id}>
              <Link to="/access-requests/$id" params={{ id: request.id }} className="item">
                <span className="row apart">
                  <span className="row">
                    <State of={request.state} />
                    <span className="strong">
                      <Shown text={request.resource} />
                    </span>
                  </span>
                  <span className="quiet">
                    <Ago at={request.asked_at} />
                  </span>
                </span>
                <span className="line">
                  <Shown text={request.exact ? oneLine(envelopeOf(request)) : `${request.operations.filter((operation) => operation !== "connect").join(", ")} for ${duration(envelopeOf(request).duration)}`} />
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
      <Older of={list} />
    </section>
  );
}
