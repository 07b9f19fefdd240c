// The one way to the gateway: calls typed by its OpenAPI document. The browser's cookie says who calls; this file never sees it.
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";

export type AccessRequest = components["schemas"]["AccessRequest"];
export type Ask = components["schemas"]["Ask"];
export type Change = components["schemas"]["Change"];
export type Door = components["schemas"]["Door"];
export type Facts = components["schemas"]["Facts"];
export type LedgerLine = components["schemas"]["LedgerLine"];
export type LedgerProof = components["schemas"]["LedgerProof"];
export type OneTime = components["schemas"]["OneTime"];
export type PreviewAnswer = components["schemas"]["PreviewAnswer"];
export type Principal = components["schemas"]["Principal"];
export type ProblemBody = components["schemas"]["Problem"];
export type Recording = components["schemas"]["Recording"];
export type Resource = components["schemas"]["Resource"];
export type Session = components["schemas"]["Session"];
export type Status = components["schemas"]["Status"];
export type Token = components["schemas"]["Token"];
export type WhoAmI = components["schemas"]["WhoAmI"];

/** What the gateway said no with: a stable code, why, and what to do next. */
export class Problem extends Error {
  constructor(readonly body: ProblemBody) {
    super(body.detail);
  }
  get code(): string {
    return this.body.code;
  }
  get status(): number {
    return this.body.status;
  }
}

/** The gateway did not answer at all. */
export class Unreachable extends Error {
  constructor() {
    super("the gateway can't be reached");
  }
}

/** What only a page of ours adds; see docs/decisions/0023. */
const PAGE = { "x-safeconduct-page": "1" };

/** A page that nobody has touched for this long asks by itself: that keeps no sign-in alive. */
const ATTENDED_MS = 60_000;
let touched = Date.now();
for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) {
  window.addEventListener(kind, () => (touched = Date.now()), { capture: true, passive: true });
}

const attendance: Middleware = {
  onRequest({ request }) {
    if (Date.now() - touched > ATTENDED_MS) request.headers.set("x-safeconduct-unattended", "1");
  },
};

const failures: Middleware = {
  onError() {
    return new Unreachable();
  },
  async onResponse({ response }) {
    if (response.ok) return;
    const body: unknown = await response.clone().json().catch(() => null);
    if (isProblem(body)) throw new Problem(body);
    // A proxy in front of the gateway, or a gateway that is going away.
    if (response.status >= 502) throw new Unreachable();
    throw new Problem({ type: "about:blank", title: "Error", status: response.status, detail: `the gateway answered ${response.status}`, code: "" });
  },
};

function isProblem(body: unknown): body is ProblemBody {
  return typeof body === "object" && body !== null && "code" in body && "detail" in body && "status" in body;
}

export const api = createClient<paths>({ baseUrl: "", headers: PAGE, credentials: "same-origin" });
api.use(attendance, failures);

/** The answer's body. Failures were thrown before. */
export async function answer<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}

/** A key of its own for each thing the person does: doing it twice over a bad line does it once. */
export function once(): { "Idempotency-Key": string } {
  return { "Idempotency-Key": crypto.randomUUID() };
}
