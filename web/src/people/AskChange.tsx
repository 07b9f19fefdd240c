// Asking for a change to people, groups or workloads. Nothing changes here: it is an access request like any other.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { answer, api, type AccessRequest, type Change } from "../api/client";
import { useOnce } from "../api/once";
import { OneTimeSecret, handsOut } from "../request/OneTimeSecret";
import { Dialog, Failed, toast } from "../ui/feedback";
import { Shown } from "../ui/text";
import { fingerprint } from "./passkey";

interface Asking {
  title: string;
  /** What will be different. */
  says: ReactNode;
  fields: { name: string; label: string; hint?: string; options?: string[] | readonly (readonly [string, string])[]; optional?: boolean }[];
  change: (field: (name: string) => string) => Change;
}

export function AskChange({ of, close }: { of: Asking; close: () => void }) {
  const [values, setValues] = useState<Record<string, string>>({});
  const [reason, setReason] = useState("");
  const [done, setDone] = useState<AccessRequest>();
  const queries = useQueryClient();
  const router = useRouter();
  const field = (name: string) => (values[name] ?? "").trim();
  const ask = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/changes", { headers: keys, body: { change: of.change(field), reason: reason.trim() } })),
    onSuccess: (after) => {
      void queries.invalidateQueries();
      if (after.state === "settled" && handsOut(after)) return setDone(after);
      close();
      if (after.state === "settled") toast("Done");
      else void router.navigate({ to: "/access-requests/$id", params: { id: after.id } });
    },
  });
  const keys = useOnce(JSON.stringify([values, reason]), ask.error);
  const complete = reason.trim() !== "" && of.fields.every(({ name, optional }) => optional || field(name) !== "");
  return (
    <Dialog title={of.title} onClose={close}>
      {done ? (
        <div className="stack">
          <OneTimeSecret request={done} />
          <div className="end">
            <button type="button" className="button" onClick={close}>
              Close
            </button>
          </div>
        </div>
      ) : (
        <form
          className="stack"
          onSubmit={(event) => {
            event.preventDefault();
            ask.mutate();
          }}
        >
          <p>{of.says}</p>
          {of.fields.map(({ name, label, hint, options, optional }, at) => (
            <label key={name} className="field">
              <span>{label}</span>
              {options ? (
                <select className="input" required={!optional} autoFocus={at === 0} value={values[name] ?? ""} onChange={(event) => setValues({ ...values, [name]: event.target.value })}>
                  {!optional && <option value="" disabled />}
                  {options.map((option) => {
                    const [value, shown] = typeof option === "string" ? [option, option] : option;
                    return (
                      <option key={value} value={value}>
                        {shown}
                      </option>
                    );
                  })}
                </select>
              ) : (
                <input className="input" required autoFocus={at === 0} value={values[name] ?? ""} maxLength={1000} autoComplete="off" autoCapitalize="none" spellCheck={false} onChange={(event) => setValues({ ...values, [name]: event.target.value })} />
              )}
              {hint && <small>{hint}</small>}
            </label>
          ))}
          <label className="field">
            <span>Why</span>
            <input className="input" required autoFocus={of.fields.length === 0} value={reason} maxLength={2000} autoComplete="off" onChange={(event) => setReason(event.target.value)} />
          </label>
          <p className="hint">This is asked for like anything else: another administrator must approve it, unless there is none.</p>
          {ask.error && <Failed error={ask.error} />}
          <div className="end">
            <button type="button" className="button" onClick={close}>
              Not now
            </button>
            <button type="submit" className="button first" disabled={ask.isPending || !complete}>
              Ask
            </button>
          </div>
        </form>
      )}
    </Dialog>
  );
}

const NAME = "Lower-case letters, digits, dots and dashes. It stays; nobody else ever gets it.";

/** What a token may call. The command line takes any of them together. */
const SCOPES = {
  name: "scopes",
  label: "Its token is for",
  optional: true,
  options: [
    ["", "everything the workload may"],
    ["request read", "asking and using, and looking"],
    ["request", "asking and using"],
    ["read", "looking"],
    ["read ledger", "looking, and the ledger"],
    ["ledger", "the ledger"],
  ],
} as const;

const narrowed = (scopes: string) => (scopes ? scopes.split(" ") : undefined);

export const newPerson: Asking = {
  title: "A new person",
  says: "A one-time code is handed out to you, with which they choose a password.",
  fields: [
    { name: "name", label: "Name", hint: NAME },
    { name: "display_name", label: "Shown as" },
  ],
  change: (field) => ({ change: "create_person", name: field("name"), display_name: field("display_name") }),
};

export const newWorkload: Asking = {
  title: "A new workload",
  says: "A token is handed out to you, with which it signs in. It can ask and use grants; it never approves.",
  fields: [
    { name: "name", label: "Name", hint: NAME },
    { name: "display_name", label: "Shown as" },
    SCOPES,
  ],
  change: (field) => ({ change: "create_workload", name: field("name"), display_name: field("display_name"), scopes: narrowed(field("scopes")) }),
};

export const disable = (name: string): Asking => ({
  title: `Disable ${name}?`,
  says: "Their sign-ins end, grants and sessions with them; what they asked for is withdrawn, approvals they gave stop counting. It can be undone, what ended stays ended.",
  fields: [],
  change: () => ({ change: "disable", name }),
});

export const enable = (name: string): Asking => ({
  title: `Enable ${name}?`,
  says: "They need a new secret before they can sign in.",
  fields: [],
  change: () => ({ change: "enable", name }),
});

export const newSecret = (name: string, kind: string): Asking => ({
  title: `A new ${kind === "workload" ? "token" : "password"} for ${name}?`,
  says: kind === "workload" ? "Tokens it has now stop working. A new one is handed out to you." : "Their password and sign-ins stop working. A one-time code is handed out to you, with which they choose a new password.",
  fields: kind === "workload" ? [SCOPES] : [],
  change: (field) => ({ change: "reset_secret", name, scopes: narrowed(field("scopes")) }),
});

export const addMember = (name: string, groups: string[]): Asking => ({
  title: `Add ${name} to a group`,
  says: "They get what policy gives the group; what is open is judged again.",
  fields: [{ name: "group", label: "Group", hint: groups.length ? `There are: ${groups.join(", ")}. Another name makes a new one.` : "" }],
  change: (field) => ({ change: "add_member", group: field("group"), name }),
});

export const removeMember = (name: string, group: string): Asking => ({
  title: `Remove ${name} from ${group}?`,
  says: "What is open is judged again: grants that policy no longer gives are revoked, approvals that no longer count are void.",
  fields: [],
  change: () => ({ change: "remove_member", group, name }),
});

/** A key that somebody else will sign with; `key` if it is at hand, as from a link. */
export const enrolKey = (name: string, key?: string): Asking => ({
  title: `Let ${name} sign approvals with a key?`,
  says: key ? (
    <>
      Ask {name}, by another way than this link came, whether their page shows this fingerprint: whoever holds the key approves as {name}. <Fingerprint of={key} />
    </>
  ) : (
    <>Whoever holds the key approves as {name}. It counts for what is asked after it is enrolled.</>
  ),
  fields: key ? [] : [{ name: "key", label: "Public key", hint: "A line of a .pub file: ssh-ed25519 AAAA…" }],
  change: (field) => ({ change: "enrol_key", name, key: key ?? field("key") }),
});

function Fingerprint({ of }: { of: string }) {
  const { data, isError } = useQuery({ queryKey: ["fingerprint", of], queryFn: () => fingerprint(of), retry: false, staleTime: Infinity });
  return <span className="mono">{isError ? "This is no key." : <Shown text={data ?? "…"} />}</span>;
}
