// People, groups and workloads: who there is, and asking for changes.
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Fragment, useState, type ReactNode } from "react";
import type { Principal } from "../api/client";
import { groups, principals, tokens, whoami } from "../api/queries";
import { addMember, AskChange, disable, enable, enrolKey, newPerson, newSecret, newWorkload, removeMember } from "../people/AskChange";
import { SignIns } from "../people/SignIns";
import { useTitle } from "../shell/Shell";
import { Dialog, Empty, Failed, Wait } from "../ui/feedback";
import { Shown } from "../ui/text";
import { At } from "../ui/time";

const route = getRouteApi("/signed-in/people");
type Asked = Parameters<typeof AskChange>[0]["of"];

export default function People() {
  useTitle("People");
  const { show, enrol, key } = route.useSearch();
  const navigate = route.useNavigate();
  const { data: who } = useQuery(whoami);
  const [search, setSearch] = useState("");
  const [asking, setAsking] = useState<Asked>();
  const administers = who?.administers ?? false;
  return (
    <div className="stack">
      <div className="row apart">
        <h1>People</h1>
        {administers && (
          <button type="button" className="button first" onClick={() => setAsking(show === "workloads" ? newWorkload : newPerson)}>
            {show === "workloads" ? "New workload…" : "New person…"}
          </button>
        )}
      </div>
      <div className="row apart">
        <nav className="tabs" aria-label="which">
          {([undefined, "groups", "workloads"] as const).map((each) => (
            <Link key={each ?? "people"} to="/people" search={{ show: each }} aria-current={show === each ? "page" : undefined}>
              {each ?? "people"}
            </Link>
          ))}
        </nav>
        <input className="input search" type="search" aria-label="search people" placeholder="Search name or group" value={search} onChange={(event) => setSearch(event.target.value)} />
      </div>
      {show === "groups" ? <Groups search={search} ask={administers ? setAsking : undefined} /> : <Principals kind={show === "workloads" ? "workload" : "person"} search={search} ask={administers ? setAsking : undefined} />}
      {asking && <AskChange of={asking} close={() => setAsking(undefined)} />}
      {enrol && key && !asking && administers && <AskChange of={enrolKey(enrol, key)} close={() => void navigate({ to: "/people", search: {}, replace: true })} />}
    </div>
  );
}

const matches = (search: string, ...texts: string[]) => search.trim().toLowerCase().split(/\s+/).every((word) => texts.join(" ").toLowerCase().includes(word));

function Principals({ kind, search, ask }: { kind: string; search: string; ask?: (of: Asked) => void }) {
  const { data, error, isPending, refetch } = useQuery(principals);
  const { data: known } = useQuery(groups);
  if (isPending) return <Wait lines={6} />;
  if (error && !data) return <Failed error={error} retry={() => void refetch()} />;
  const found = data.filter((each) => each.kind === kind && matches(search, each.name, each.display_name, ...each.groups, ...(each.waits ? ["waits"] : []))).sort((a, b) => Number(b.waits) - Number(a.waits));
  return (
    <List empty={search.trim() ? "Nobody of that name" : kind === "person" ? "Nobody" : "No workloads"}>
      {found.map((each) => (
        <li key={each.name} aria-label={each.name}>
          <One of={each} groups={known?.map(({ name }) => name) ?? []} ask={ask} />
        </li>
      ))}
    </List>
  );
}

/** As many as a page holds well: who looks for somebody searches. */
const MOST = 200;

function List({ empty, children }: { empty: string; children: ReactNode[] }) {
  if (children.length === 0) return <Empty title={empty} />;
  return (
    <>
      <ul className="card rows">{children.slice(0, MOST)}</ul>
      {children.length > MOST && (
        <p className="hint">
          The first {MOST} of {children.length}; search for others.
        </p>
      )}
    </>
  );
}

function One({ of, groups, ask }: { of: Principal; groups: string[]; ask?: (of: Asked) => void }) {
  const { data: who } = useQuery(whoami);
  const [looking, setLooking] = useState(false);
  return (
    <div className="item">
      <div className="row apart">
        <span>
          <span className="row">
            <span className="strong">
              <Shown text={of.display_name} />
            </span>
            <span className="mono quiet">
              <Shown text={of.name} />
            </span>
            {of.disabled && <span className="chip severe">{of.waits ? "waits" : "disabled"}</span>}
          </span>
          <span className="line">
            <Shown text={of.groups.join(", ") || "in no group"} />
            {of.department && (
              <>
                ; <Shown text={of.department} />
              </>
            )}
            {of.manager && (
              <>
                ; answers to <Shown text={of.manager} />
              </>
            )}
            {Object.entries(of.attributes ?? {}).map(([name, value]) => (
              <Fragment key={name}>
                ; {name} <Shown text={value} />
              </Fragment>
            ))}
            ; since <At at={of.created_at} />
          </span>
          {of.waits && (
            <span className="line">
              Signed in by <Shown text={of.identities?.map(({ issuer, subject }) => `${issuer}, as ${subject}`).join("; ") ?? ""} />. Enable them only if they are nobody who is here already under another name.
            </span>
          )}
        </span>
        <span className="row">
          {who?.ends_access && (
            <button type="button" className="button small" onClick={() => setLooking(true)}>
              {of.kind === "workload" ? "Tokens" : "Sign-ins"}
            </button>
          )}
          {ask && (
            <>
              <button type="button" className="button small" onClick={() => ask(addMember(of.name, groups.filter((group) => !of.groups.includes(group))))}>
                Add to group…
              </button>
              <button type="button" className="button small" onClick={() => ask(newSecret(of.name, of.kind))}>
                New {of.kind === "workload" ? "token" : "password"}…
              </button>
              {of.kind === "person" && (
                <button type="button" className="button small" onClick={() => ask(enrolKey(of.name))}>
                  Enrol key…
                </button>
              )}
              <button type="button" className={`button small ${of.disabled ? "" : "danger"}`} onClick={() => ask(of.disabled ? enable(of.name) : disable(of.name))}>
                {of.disabled ? "Enable…" : "Disable…"}
              </button>
            </>
          )}
        </span>
      </div>
      {looking && <TheirSignIns of={of.name} close={() => setLooking(false)} />}
    </div>
  );
}

function TheirSignIns({ of, close }: { of: string; close: () => void }) {
  const { data, error, isPending } = useQuery(tokens(of));
  return (
    <Dialog title={`Where ${of} is signed in`} onClose={close}>
      {isPending ? <Wait /> : error && !data ? <Failed error={error} /> : <SignIns of={of} tokens={data} />}
      <div className="end">
        <button type="button" className="button" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

function Groups({ search, ask }: { search: string; ask?: (of: Asked) => void }) {
  const { data, error, isPending, refetch } = useQuery(groups);
  if (isPending) return <Wait lines={6} />;
  if (error && !data) return <Failed error={error} retry={() => void refetch()} />;
  const found = data.filter((group) => matches(search, group.name, ...group.members));
  return (
    <List empty={search.trim() ? "No group of that name" : "No groups"}>
      {found.map((group) => (
        <li key={group.name} aria-label={group.name}>
          <div className="item">
            <span className="row apart">
              <span className="strong">
                <Shown text={group.name} />
              </span>
              <span className="quiet">
                {group.members.length} {group.members.length === 1 ? "member" : "members"}
              </span>
            </span>
            <span className="row">
              {group.members.map((member) => (
                <span key={member} className="chip">
                  <Shown text={member} />
                  {ask && (
                    <button type="button" className="cross" aria-label={`remove ${member} from ${group.name}`} onClick={() => ask(removeMember(member, group.name))}>
                      ×
                    </button>
                  )}
                </span>
              ))}
            </span>
          </div>
        </li>
      ))}
    </List>
  );
}
