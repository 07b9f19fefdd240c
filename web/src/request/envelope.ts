// The envelope: what an approval is for. Pages show what is in it, and its digest is worked out here, so that nobody approves something else.
import { useQuery } from "@tanstack/react-query";
import type { AccessRequest } from "../api/client";
import { digestOf, type Json } from "../proof/canonical";

export interface Parameter {
  type_oid: number;
  binary: boolean;
  hex: string | null;
  shown: string | null;
}

export type Action =
  | { kind: "sql"; database: string; text: string; parameters: Parameter[]; settings: Record<string, string>; copy_data?: Record<string, Json> }
  | ({ kind: "administration"; change: string } & Record<string, Json>);

export type Scope =
  | { scope: "exact"; action: Action; needs: string[] }
  | { scope: "window"; operations: string[]; narrow?: { databases?: string[]; schemas?: string[]; tables?: string[] } };

export interface Envelope {
  v: number;
  gateway: string;
  access_request: string;
  requester: string;
  requester_kind: "person" | "workload";
  resource: string;
  scope: Scope;
  /** Seconds. */
  duration: number;
  /** Microseconds since 1970, like the other times here. */
  starts_at: number | null;
  asked_at: number;
  pending_until: number;
  asked: { reason: string; ticket: string | null; source: string; sign_in: string; sign_in_age_seconds: number; claims?: Record<string, string> };
  origin: { origin: "asked" } | { origin: "held"; session: string; in_transaction: boolean } | { origin: "extension"; of: string };
  policy: string;
  quorum: { any_of: { count: number; groups: string[] }[] } | null;
}

export const envelopeOf = (request: AccessRequest) => request.envelope as unknown as Envelope;

export interface Checked {
  /** The digest of what is shown; an approval names this one. */
  digest: string | undefined;
  /** False if the gateway says another digest for it, or it is another access request's envelope. */
  same: boolean | undefined;
}

/** Works out the digest of what is shown and compares it with what the gateway says it is. */
export function useChecked(request: AccessRequest): Checked {
  const { data } = useQuery({
    queryKey: ["digest", request.id, request.digest, request.envelope],
    queryFn: () => digestOf(request.envelope as unknown as Json).catch(() => "none"),
    staleTime: Infinity,
  });
  if (!data) return { digest: undefined, same: undefined };
  return { digest: data, same: data === request.digest && envelopeOf(request).access_request === request.id };
}

/** `15 min`, `1 h 30 min`. */
export function duration(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor((seconds % 86400) / 3600), "h"],
    [Math.floor((seconds % 3600) / 60), "min"],
    [seconds % 60, "s"],
  ];
  return parts.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ") || "0 s";
}

/** How approvals must be proved, after who must give them. */
export const levelText = (level: string | undefined) => (level === "signed" ? ", signed" : level === "passkey" ? ", signed with a passkey or security key" : "");

export function quorumText(quorum: Envelope["quorum"]): string {
  if (!quorum) return "nobody";
  return quorum.any_of
    .map(({ count, groups }) => {
      const named = groups.map((group) => `one of ${group}`).join(" and ");
      if (count === groups.length) return named;
      const people = count === 1 ? "one person" : `${count} people`;
      return named ? `${people}, among them ${named}` : people;
    })
    .join("; or ");
}

/** One line for lists. */
export function oneLine(envelope: Envelope): string {
  const { scope } = envelope;
  if (scope.scope === "window") return `${scope.operations.filter((operation) => operation !== "connect" || scope.operations.length === 1).join(", ")} for ${duration(envelope.duration)}`;
  if (scope.action.kind === "sql") return scope.action.text.replace(/\s+/g, " ").trim();
  return changeText(scope.action);
}

/** What a token is for, if that is not everything its workload may. */
const narrowed = (scopes: unknown) => (Array.isArray(scopes) ? `; its token is for ${scopes.join(", ")} alone` : "");

/** A change to the gateway, in words. */
export function changeText(action: Extract<Action, { kind: "administration" }>): string {
  const { kind: _, change, ...rest } = action;
  const of = (name: string) => String(rest[name] ?? "");
  switch (change) {
    case "create_person": return `create the person ${of("name")} (${of("display_name")})`;
    case "create_workload": return `create the workload ${of("name")} (${of("display_name")})${narrowed(rest.scopes)}`;
    case "disable": return `disable ${of("name")}`;
    case "enable": return `enable ${of("name")}`;
    case "add_member": return `add ${of("name")} to the group ${of("group")}`;
    case "remove_member": return `remove ${of("name")} from the group ${of("group")}`;
    case "reset_secret": return `let ${of("name")} choose a new secret${narrowed(rest.scopes)}`;
    case "enrol_key": return `let ${of("name")} sign approvals with the key ${of("key")}`;
    case "remove_key": return `no longer let ${of("name")} sign approvals with the key ${of("key")}`;
    case "unlink_identity": return `unlink ${of("name")} from ${of("subject")} at ${of("issuer")}`;
    case "apply_policy": return `make the bundle ${of("hash")} the policy`;
    case "confirm_clock": return "lift the freeze after the clock was found behind";
    default: return `${change} ${JSON.stringify(rest)}`;
  }
}
