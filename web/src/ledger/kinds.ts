/** What happens, by what it happens to. The first of each group finds all whose names begin so. */
export const KINDS: [group: string, kinds: string[]][] = [
  ["access requests", ["access_request", "access_request_submitted", "access_request_refused", "access_request_denied", "access_request_withdrawn", "access_request_lapsed", "access_request_rejudged", "approval_given", "approval_lapsed", "approvals_voided"]],
  ["grants", ["grant", "grant_given", "grant_activated", "grant_extended", "extension_applied", "grant_released", "grant_revoked", "grant_expired", "grant_ended"]],
  ["exact actions", ["action", "action_claimed", "action_settled", "action_stop_requested", "action_refused"]],
  ["sessions", ["session", "session_opened", "session_closed", "grants_joined", "chunk_sealed", "recording_lost", "recording_without_session"]],
  ["login roles", ["credential", "credential_intended", "credential_minted", "credential_retired", "unknown_roles"]],
  ["people", ["person_created", "workload_created", "principal_disabled", "principal_enabled", "member_added", "member_removed", "secret_reset", "key_enrolled", "key_removed", "identity_linked", "identity_unlinked", "person_described", "group_described"]],
  ["sign-ins", ["signed_in", "signed_out", "sign_in_failed", "password_chosen"]],
  ["policy and gateway", ["bundle_applied", "roster_applied", "node_started", "node_stopped", "crash_found", "clock_behind", "clock_confirmed", "store_restored", "records_left_out", "erased"]],
];

const ANY = new Set(["access_request", "grant", "action", "session", "credential"]);

export const inWords = (kind: string) => kind.replaceAll("_", " ") + (ANY.has(kind) ? ": anything" : "");
