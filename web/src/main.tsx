// Joins the parts: routes, each loaded when it is first opened, around one cache and one line to the gateway.
import { QueryClientProvider } from "@tanstack/react-query";
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet, redirect, RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./api/brought";
import { Problem } from "./api/client";
import { hangUp } from "./api/live";
import { queryClient, toApprove, whoami } from "./api/queries";
import { NotFound, RouteError, Shell } from "./shell/Shell";
import "./shell/theme";
import "./style/base.css";
import { Wait } from "./ui/feedback";

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound, errorComponent: RouteError });

/** A path of ours, or home: a link never leads elsewhere after signing in. */
const ownPath = (to: unknown): string | undefined => (typeof to === "string" && /^\/(?![/\\])/.test(to) ? to : undefined);

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** Where to go afterwards; and, for a command line on this machine, by whom to sign in and where it waits. */
interface SignInSearch {
  to?: string;
  provider?: string;
  port?: number;
  challenge?: string;
}

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: (search): SignInSearch => ({
    to: ownPath(search.to),
    provider: text(search.provider),
    port: typeof search.port === "number" ? search.port : undefined,
    challenge: text(search.challenge),
  }),
  component: lazyRouteComponent(() => import("./pages/SignIn")),
});

const signedIn = createRoute({
  getParentRoute: () => root,
  id: "signed-in",
  beforeLoad: async ({ location }) => {
    try {
      return { who: await queryClient.ensureQueryData(whoami) };
    } catch (error) {
      if (error instanceof Problem && error.status === 401) throw redirect({ to: "/sign-in", search: { to: location.href }, replace: true });
      throw error;
    }
  },
  component: Shell,
  errorComponent: RouteError,
  notFoundComponent: NotFound,
  pendingComponent: () => (
    <main className="main">
      <Wait />
    </main>
  ),
});

const page = <const P extends string>(path: P, load: () => Promise<{ default: React.ComponentType }>) =>
  createRoute({ getParentRoute: () => signedIn, path, component: lazyRouteComponent(load) });

const home = page("/", () => import("./pages/Home"));
const approvals = createRoute({
  getParentRoute: () => signedIn,
  path: "/approvals",
  validateSearch: (search): { at?: string } => ({ at: typeof search.at === "string" ? search.at : undefined }),
  loader: () => void queryClient.prefetchQuery(toApprove),
  component: lazyRouteComponent(() => import("./pages/Approvals")),
});
const accessRequest = page("/access-requests/$id", () => import("./pages/AccessRequest"));
const resource = page("/resources/$name", () => import("./pages/Resource"));
const sessions = page("/sessions", () => import("./pages/Sessions"));
const session = page("/sessions/$id", () => import("./pages/Session"));
const account = page("/account", () => import("./pages/Account"));
const people = createRoute({
  getParentRoute: () => signedIn,
  path: "/people",
  validateSearch: (search): { show?: "groups" | "workloads"; enrol?: string; key?: string } => ({
    show: search.show === "groups" || search.show === "workloads" ? search.show : undefined,
    enrol: text(search.enrol),
    key: text(search.key),
  }),
  component: lazyRouteComponent(() => import("./pages/People")),
});
const sqlConsole = createRoute({
  getParentRoute: () => signedIn,
  path: "/console",
  validateSearch: (search): { resource?: string; request?: string } => ({ resource: text(search.resource), request: text(search.request) }),
  component: lazyRouteComponent(() => import("./pages/Console")),
});
const policy = createRoute({
  getParentRoute: () => signedIn,
  path: "/policy",
  validateSearch: (search): { show?: "explain" | "text" | "cases" | "versions"; hash?: string; from?: string; file?: string; line?: number } => ({
    show: search.show === "text" || search.show === "cases" || search.show === "versions" ? search.show : undefined,
    hash: text(search.hash),
    from: text(search.from),
    file: text(search.file),
    line: typeof search.line === "number" && search.line > 0 ? search.line : undefined,
  }),
  component: lazyRouteComponent(() => import("./pages/Policy")),
});
const insights = createRoute({
  getParentRoute: () => signedIn,
  path: "/insights",
  validateSearch: (search): { days?: number; day?: string; came?: string; decided_by?: string; resource?: string; operations?: string; used?: boolean } => ({
    ...(typeof search.days === "number" && [7, 30, 90].includes(search.days) && { days: search.days }),
    ...(text(search.day) && { day: text(search.day) }),
    ...(text(search.came) && { came: text(search.came) }),
    ...(text(search.decided_by) && { decided_by: text(search.decided_by) }),
    ...(text(search.resource) && { resource: text(search.resource) }),
    ...(text(search.operations) && { operations: text(search.operations) }),
    ...(typeof search.used === "boolean" && { used: search.used }),
  }),
  component: lazyRouteComponent(() => import("./pages/Insights")),
});

/** A text that looks like a number is one to whoever wrote the address by hand. */
const words = (value: unknown): string | undefined => text(typeof value === "number" ? String(value) : value);
const date = (value: unknown): string | undefined => (typeof value === "string" && /^\d{4}-\d{2}-\d{2}$/.test(value) && !Number.isNaN(Date.parse(value)) ? value : undefined);
const ledger = createRoute({
  getParentRoute: () => signedIn,
  path: "/ledger",
  validateSearch: (search): { person?: string; resource?: string; kind?: string; from?: string; to?: string; text?: string; entry?: number } => ({
    ...(words(search.person) && { person: words(search.person) }),
    ...(words(search.resource) && { resource: words(search.resource) }),
    ...(words(search.kind) && { kind: words(search.kind) }),
    ...(date(search.from) && { from: date(search.from) }),
    ...(date(search.to) && { to: date(search.to) }),
    ...(words(search.text) && { text: words(search.text) }),
    ...(Number.isSafeInteger(search.entry) && (search.entry as number) >= 0 && { entry: search.entry as number }),
  }),
  component: lazyRouteComponent(() => import("./pages/Ledger")),
});

const router = createRouter({
  routeTree: root.addChildren([signIn, signedIn.addChildren([home, approvals, accessRequest, resource, sessions, session, sqlConsole, policy, insights, ledger, account, people])]),
  defaultPreload: "intent",
  scrollRestoration: true,
  defaultPendingMs: 150,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

// Whatever is refused for want of a sign-in leads to the sign-in page, and back.
const signedOut = (error: unknown) => {
  if (!(error instanceof Problem) || error.status !== 401 || router.state.location.pathname === "/sign-in") return;
  hangUp();
  queryClient.removeQueries();
  void router.navigate({ to: "/sign-in", search: { to: router.state.location.href }, replace: true });
};
queryClient.getQueryCache().config.onError = signedOut;
queryClient.getMutationCache().config.onError = signedOut;

const app = document.getElementById("app");
if (app)
  createRoot(app).render(
    <StrictMode>
      <QueryClientProvider client={queryClient}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
