// What pages ask for, under names that news can make stale.
import { infiniteQueryOptions, QueryClient, queryOptions } from "@tanstack/react-query";
import { answer, api, Problem, Unreachable, type Ask } from "./client";

const PAGE_SIZE = 50;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // News says when something changed; nothing is asked for again without a reason.
      staleTime: 60_000,
      refetchOnWindowFocus: true,
      // The browser's idea of being online says nothing about the gateway.
      networkMode: "always",
      retry: (count, error) => !(error instanceof Problem) && count < 2,
      retryDelay: 500,
    },
    mutations: { networkMode: "always", retry: (count, error) => error instanceof Unreachable && count < 1 },
  },
});

export const whoami = queryOptions({ queryKey: ["whoami"], queryFn: () => answer(api.GET("/api/v1/whoami")), staleTime: Infinity });

/** Where somebody is signed in: oneself, or anybody for administrators. */
export const tokens = (name: string) => queryOptions({ queryKey: ["tokens", name], queryFn: () => answer(api.GET("/api/v1/tokens/{name}", { params: { path: { name } } })) });

export const keys = (name: string) => queryOptions({ queryKey: ["keys", name], queryFn: () => answer(api.GET("/api/v1/keys/{name}", { params: { path: { name } } })) });

export const principals = queryOptions({ queryKey: ["directory", "principals"], queryFn: () => answer(api.GET("/api/v1/principals")) });

export const groups = queryOptions({ queryKey: ["directory", "groups"], queryFn: () => answer(api.GET("/api/v1/groups")) });

export const status = queryOptions({ queryKey: ["status"], queryFn: () => answer(api.GET("/api/v1/status")) });

/** Most that an inbox holds; beyond, it says so. */
const INBOX = 200;

export const countOf = (waiting: unknown[] | undefined) => (waiting?.length === INBOX ? `${INBOX}+` : String(waiting?.length ?? 0));

export const toApprove = queryOptions({
  queryKey: ["access", "to-approve"],
  queryFn: () => answer(api.GET("/api/v1/access-requests", { params: { query: { list: "to-approve", limit: INBOX } } })),
});

export const mine = infiniteQueryOptions({
  queryKey: ["access", "mine"],
  queryFn: ({ pageParam }) =>
    answer(api.GET("/api/v1/access-requests", { params: { query: { list: "mine", limit: PAGE_SIZE, ...(pageParam && { before: pageParam }) } } })),
  initialPageParam: "",
  getNextPageParam: (page) => (page.length === PAGE_SIZE ? page.at(-1)?.id : undefined),
});

export const accessRequest = (id: string) =>
  queryOptions({ queryKey: ["access", "one", id], queryFn: () => answer(api.GET("/api/v1/access-requests/{id}", { params: { path: { id } } })) });

/** What the server's statistics say of it. News about the access request changes nothing of that. */
export const estimate = (id: string) =>
  queryOptions({ queryKey: ["estimate", id], queryFn: () => answer(api.GET("/api/v1/access-requests/{id}/estimate", { params: { path: { id } } })), retry: false });

/** What the same person asked of the same resource before, as far as the caller may know. */
export const earlier = (requester: string, resource: string) =>
  queryOptions({
    queryKey: ["access", "earlier", requester, resource],
    queryFn: () => answer(api.GET("/api/v1/access-requests", { params: { query: { list: "all", requester, resource, limit: 6 } } })),
  });

export const grants = queryOptions({ queryKey: ["access", "grants"], queryFn: () => answer(api.GET("/api/v1/grants", { params: { query: { limit: 200 } } })) });

export const resources = queryOptions({ queryKey: ["resources"], queryFn: () => answer(api.GET("/api/v1/resources")) });

export const preview = (ask: Ask) =>
  queryOptions({ queryKey: ["preview", ask], queryFn: () => answer(api.POST("/api/v1/access-requests/preview", { body: ask })), staleTime: ({ state }) => (state.data?.sign_in_again ? 0 : 10_000) });

export const sessions = (live: boolean) =>
  infiniteQueryOptions({
    queryKey: ["sessions", live],
    queryFn: ({ pageParam }) =>
      answer(api.GET("/api/v1/sessions", { params: { query: { live, limit: PAGE_SIZE, ...(pageParam && { before: pageParam }) } } })),
    initialPageParam: "",
    getNextPageParam: (page) => (page.length === PAGE_SIZE ? page.at(-1)?.id : undefined),
  });

/** The sessions in which an access request was used. */
export const sessionsOf = (id: string) =>
  queryOptions({ queryKey: ["sessions", "of", id], queryFn: () => answer(api.GET("/api/v1/access-requests/{id}/sessions", { params: { path: { id } } })) });

export const recording = (id: string) =>
  infiniteQueryOptions({
    queryKey: ["recording", id],
    queryFn: ({ pageParam }) =>
      answer(api.GET("/api/v1/sessions/{id}/recording", { params: { path: { id }, query: { from: pageParam, limit: 200 } } })),
    initialPageParam: 1,
    getNextPageParam: (page, _, from) => (page.records.length === 200 ? from + 200 : undefined),
  });
