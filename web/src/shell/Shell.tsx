// The frame around every page: where one is, what waits, whether news arrives, who one is.
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useRouter, useRouterState, type ErrorComponentProps } from "@tanstack/react-router";
import { useEffect, useRef, type ReactNode } from "react";
import { answer, api } from "../api/client";
import { follow, hangUp, useLine } from "../api/live";
import { countOf, queryClient, status, toApprove, whoami } from "../api/queries";
import { envelopeOf, oneLine } from "../request/envelope";
import { Empty, Failed, Toasts } from "../ui/feedback";
import { Shown } from "../ui/text";
import { clockTime } from "../ui/time";
import { ChooseTheme } from "./ChooseTheme";

export function Shell() {
  useEffect(() => {
    follow();
    return hangUp;
  }, []);
  const { data: waiting } = useQuery(toApprove);
  const { data: who } = useQuery(whoami);
  useBell();
  const count = countOf(waiting);
  const more = MORE.filter((page) => !page.audits || who?.audits);
  return (
    <div className="shell">
      <header className="top">
        <Link to="/" className="brand" aria-label="Safeconduct, home">
          <img src="/icon.svg" alt="" />
          <span>Safeconduct</span>
        </Link>
        <nav className="nav" aria-label="Pages">
          <Tab to="/" icon={<path d="M3 9.5 10 4l7 5.5V16a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1z" />}>
            Home
          </Tab>
          <Tab to="/approvals" icon={<path d="m4 10.5 4 4 8-9" />}>
            Approvals{count !== "0" && <span className="count" aria-label={`${count} waiting`}>{count}</span>}
          </Tab>
          <Tab to="/sessions" icon={<path d="M3 5h14v10H3zM6 9l2 1.5L6 12M10 12h3" />}>
            Sessions
          </Tab>
          {more.map(({ to, name, icon }) => (
            <Tab key={to} to={to} icon={icon} only="wide">
              {name}
            </Tab>
          ))}
          <More pages={more} />
        </nav>
        <Account name={who?.name ?? ""} />
      </header>
      <div>
        <Line />
        <Standing />
        <main className="main">
          <Outlet />
        </main>
      </div>
      <Toasts />
    </div>
  );
}

type To = "/" | "/approvals" | "/sessions" | "/console" | "/policy" | "/insights" | "/ledger" | "/people";

/** Pages that a narrow window shows under one tab; some are of use to those who audit only. */
const MORE: { to: To; name: string; icon: ReactNode; audits?: true }[] = [
  { to: "/console", name: "Console", icon: <path d="m4 5 4.5 5L4 15M10 15h6" /> },
  { to: "/policy", name: "Policy", icon: <path d="M10 3 4 5v5c0 3.5 2.5 5.8 6 7 3.5-1.2 6-3.5 6-7V5zM7.5 9.8l1.8 1.8 3.4-3.6" /> },
  { to: "/insights", name: "Insights", icon: <path d="M4 16V9M8.5 16V5M13 16v-5M17 16H3" />, audits: true },
  { to: "/people", name: "People", icon: <path d="M7.5 9a3 3 0 1 0 0-6 3 3 0 0 0 0 6M2 17c0-3.5 2.2-5.5 5.5-5.5S13 13.5 13 17M13 3.5a3 3 0 0 1 0 5.5M15 12c2 .7 3 2.5 3 5" />, audits: true },
  { to: "/ledger", name: "Ledger", icon: <path d="M5 3h10v14H5zM8 7h4M8 10h4M8 13h2" />, audits: true },
];

function Tab({ to, icon, only, onClick, children }: { to: To; icon: ReactNode; only?: "wide"; onClick?: () => void; children: ReactNode }) {
  return (
    <Link to={to} className={only} onClick={onClick} activeOptions={{ exact: to === "/", includeSearch: false }} activeProps={{ "aria-current": "page" }}>
      <Icon>{icon}</Icon>
      {children}
    </Link>
  );
}

function Icon({ children }: { children: ReactNode }) {
  return (
    <svg viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      {children}
    </svg>
  );
}

function More({ pages }: { pages: typeof MORE }) {
  const ref = useMenu();
  const within = useRouterState({ select: (state) => pages.some(({ to }) => state.location.pathname.startsWith(to)) });
  return (
    <details className="more" ref={ref} data-current={within}>
      <summary aria-label="more pages">
        <Icon>
          <path d="M4 6h12M4 10h12M4 14h12" />
        </Icon>
        More
      </summary>
      <div className="panel">
        {pages.map(({ to, name, icon }) => (
          <Tab key={to} to={to} icon={icon} onClick={() => ref.current?.removeAttribute("open")}>
            {name}
          </Tab>
        ))}
      </div>
    </details>
  );
}

/** A menu closes when somebody looks elsewhere, or by Escape. */
function useMenu() {
  const ref = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      const menu = ref.current;
      if (menu?.open && (event instanceof KeyboardEvent ? event.key === "Escape" : !menu.contains(event.target as Node))) menu.open = false;
    };
    document.addEventListener("pointerdown", close);
    document.addEventListener("keydown", close);
    return () => {
      document.removeEventListener("pointerdown", close);
      document.removeEventListener("keydown", close);
    };
  }, []);
  return ref;
}

/** Says when what is shown may be old. */
function Line() {
  const { downSince } = useLine();
  if (downSince === undefined) return null;
  return (
    <div className="banner" role="status">
      No line to the gateway since {clockTime(new Date(downSince).toISOString())}. What you see may be old; deciding waits until it is back.
    </div>
  );
}

/** What everybody should know about the gateway. */
function Standing() {
  const { data } = useQuery(status);
  if (data?.frozen) return <div className="banner" role="status">Nothing is live: <Shown text={data.frozen} /></div>;
  if (data?.bundle_problem) return <div className="banner" role="status">The watched policy does not apply; the one before does: <Shown text={data.bundle_problem} /></div>;
  return null;
}

function Account({ name }: { name: string }) {
  const ref = useMenu();
  const router = useRouter();
  const signOut = async () => {
    await answer(api.POST("/api/v1/sign-out")).catch(() => undefined);
    hangUp();
    queryClient.clear();
    await router.navigate({ to: "/sign-in" });
  };
  const { data } = useQuery(status);
  return (
    <details className="account" ref={ref}>
      <summary aria-label={`account of ${name}`}>
        <span className="strong">
          <Shown text={name} />
        </span>
        <span aria-hidden="true">▾</span>
      </summary>
      <div className="panel">
        <ChooseTheme />
        <Link to="/account" className="button" onClick={() => ref.current?.removeAttribute("open")}>
          Sign-ins and settings
        </Link>
        {data && (
          <p className="hint">
            <Shown text={data.gateway} />, version {data.version}
            <br />
            standing privilege: {data.standing_privilege.length}
          </p>
        )}
        <button type="button" className="button" onClick={() => void signOut()}>
          Sign out
        </button>
      </div>
    </details>
  );
}

/** A notification for what newly waits, if somebody allowed that and looks elsewhere. It leads to the page; deciding happens there. */
function useBell() {
  const { data } = useQuery(toApprove);
  const known = useRef<Set<string>>(undefined);
  useEffect(() => {
    if (!data) return;
    const before = known.current;
    known.current = new Set(data.map((request) => request.id));
    if (!before || typeof Notification === "undefined" || Notification.permission !== "granted" || !document.hidden) return;
    for (const request of data.filter((each) => !before.has(each.id))) {
      const bell = new Notification(`${request.requester} waits for approval on ${request.resource}`, { body: oneLine(envelopeOf(request)).slice(0, 200), tag: request.id });
      bell.onclick = () => {
        window.focus();
        location.assign(`/access-requests/${request.id}`);
      };
    }
  }, [data]);
}

/** The page's name, with how many wait in front. */
export function useTitle(name: string) {
  const { data } = useQuery({ ...toApprove, enabled: false });
  const count = countOf(data);
  useEffect(() => {
    document.title = `${count !== "0" ? `(${count}) ` : ""}${name} · Safeconduct`;
  }, [name, count]);
}

export function RouteError({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  // A part that does not come: no line, or the gateway runs another version, whose parts have other names.
  if (error instanceof Error && /import/i.test(error.message) && /module|script/i.test(error.message))
    return (
      <main className="main">
        <Empty title="This page could not be loaded">
          <p>The gateway can’t be reached, or it runs another version now.</p>
          <button type="button" className="button" onClick={() => location.reload()}>
            Load again
          </button>
        </Empty>
      </main>
    );
  return (
    <main className="main stack">
      <Failed
        error={error}
        retry={() => {
          reset();
          void router.invalidate();
        }}
      />
    </main>
  );
}

export function NotFound() {
  const path = useRouterState({ select: (state) => state.location.pathname });
  return (
    <main className="main">
      <Empty title="There is no such page">
        <p className="mono">
          <Shown text={path} />
        </p>
        <Link to="/" className="button">
          Home
        </Link>
      </Empty>
    </main>
  );
}
