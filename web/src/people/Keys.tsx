// One's own keys that sign approvals, and making a passkey. A key counts once an administrator has asked for it and another approved.
import { useMutation, useQuery } from "@tanstack/react-query";
import { keys } from "../api/queries";
import { Copy, Failed, Wait } from "../ui/feedback";
import { At } from "../ui/time";
import { fingerprint, makePasskey } from "./passkey";

export function Keys({ name, displayName }: { name: string; displayName: string }) {
  const { data, error, isPending, refetch } = useQuery(keys(name));
  const make = useMutation({
    mutationFn: async () => {
      const line = await makePasskey(name, displayName);
      return { line, digest: await fingerprint(line) };
    },
  });
  const given = make.error?.name === "NotAllowedError" ? new Error("No passkey was made: it was cancelled, or took too long.") : make.error;
  const link = make.data && `${location.origin}/people?enrol=${encodeURIComponent(name)}&key=${encodeURIComponent(make.data.line)}`;
  return (
    <section className="section" aria-label="keys">
      <div className="row apart">
        <h1>Keys that sign your approvals</h1>
        <button type="button" className="button" disabled={make.isPending} onClick={() => make.mutate()}>
          {make.isPending ? "Waiting for your authenticator…" : "Make a passkey…"}
        </button>
      </div>
      <p className="hint">Some policies count an approval only with its giver’s signature. A key counts for what is asked after it was enrolled.</p>
      {given && <Failed error={given} />}
      {link && (
        <div className="note good stack" role="status">
          <p>
            Made. It counts once it is enrolled: send this link to an administrator, and tell them its fingerprint by another way.
          </p>
          <p className="mono">{make.data?.digest}</p>
          <p>
            <Copy text={link} label="Copy the link" />
          </p>
        </div>
      )}
      {isPending ? (
        <Wait />
      ) : error && !data ? (
        <Failed error={error} retry={() => void refetch()} />
      ) : data.length === 0 ? (
        <p className="quiet">None are enrolled.</p>
      ) : (
        <ul className="card rows">
          {data.map((key) => (
            <li key={key.key} className="item">
              <span className="mono">{key.fingerprint}</span>
              <span className="line">
                {kinds[key.key.split(" ")[0] ?? ""] ?? "a key"}, since <At at={key.enrolled_at} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const kinds: Record<string, string> = {
  "ssh-ed25519": "a key in a file",
  "ecdsa-sha2-nistp256": "a key in a file",
  "sk-ssh-ed25519@openssh.com": "a security key",
  "sk-ecdsa-sha2-nistp256@openssh.com": "a passkey or security key",
};
