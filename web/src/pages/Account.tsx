// Who one is here, where one is signed in, and how times and colours are shown.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import { tokens, whoami } from "../api/queries";
import { Keys } from "../people/Keys";
import { SignIns } from "../people/SignIns";
import { ChooseTheme } from "../shell/ChooseTheme";
import { useTitle } from "../shell/Shell";
import { Failed, toast, Wait } from "../ui/feedback";
import { Shown } from "../ui/text";
import { browserZone, chooseZone, chosenZone } from "../ui/zone";

export default function Account() {
  useTitle("Account");
  const { data: who } = useQuery(whoami);
  const { data } = useQuery({ ...tokens(who?.name ?? ""), enabled: who !== undefined });
  if (!who) return <Wait />;
  return (
    <div className="stack">
      <section className="section">
        <h1>
          <Shown text={who.display_name || who.name} />
        </h1>
        <dl className="facts card">
          <dt>name</dt>
          <dd className="mono">
            <Shown text={who.name} />
          </dd>
          <dt>groups</dt>
          <dd>
            <Shown text={who.groups?.join(", ") || "none"} />
          </dd>
          <dt>may also</dt>
          <dd>{[who.audits && "read everything that is recorded", who.ends_access && "end anybody’s access", who.administers && "ask for changes to people and groups"].filter(Boolean).join("; ") || "nothing beyond what is asked for"}</dd>
        </dl>
      </section>
      <Mine name={who.name} own={who.sign_in} />
      {who.kind === "person" && <Keys name={who.name} displayName={who.display_name ?? ""} />}
      <section className="section">
        <h1>Password</h1>
        {data?.find((token) => token.sign_in === who.sign_in)?.provider ? (
          <p className="quiet">Your identity provider signs you in: a password, if you have one there, is changed there.</p>
        ) : (
          <p className="quiet">An administrator hands out a one-time code for a new one; it is chosen on the sign-in page. That ends every sign-in of yours.</p>
        )}
      </section>
      <section className="section">
        <h1>How things are shown here</h1>
        <p className="hint">Kept in this browser, for this browser.</p>
        <div className="row">
          <span className="quiet">Colours</span>
          <ChooseTheme />
        </div>
        <label className="field narrow">
          <span>Time zone</span>
          <select className="input" value={chosenZone() ?? ""} onChange={(event) => chooseZone(event.target.value || undefined)}>
            <option value="">the browser’s, {browserZone()}</option>
            {["UTC", ...Intl.supportedValuesOf("timeZone").filter((zone) => zone !== "UTC")].map((zone) => (
              <option key={zone}>{zone}</option>
            ))}
          </select>
        </label>
        <p className="hint">
          What these pages are made of: <a href="/licenses.txt">licences</a>.
        </p>
      </section>
    </div>
  );
}

function Mine({ name, own }: { name: string; own: string }) {
  const { data, error, isPending, refetch } = useQuery(tokens(name));
  const queries = useQueryClient();
  const others = data?.filter((token) => token.sign_in !== own) ?? [];
  const endOthers = useMutation({
    mutationFn: () => answer(api.DELETE("/api/v1/tokens/{name}", { params: { path: { name } } })),
    onSuccess: () => toast("Every other sign-in was ended"),
    onSettled: () => queries.invalidateQueries({ queryKey: ["tokens", name] }),
  });
  return (
    <section className="section" aria-label="sign-ins">
      <div className="row apart">
        <h1>Where you are signed in</h1>
        {others.length > 0 && (
          <button type="button" className="button" disabled={endOthers.isPending} onClick={() => endOthers.mutate()}>
            End all others
          </button>
        )}
      </div>
      <p className="hint">Ending one ends its passwords for doors, too. Sessions that are open stay until their grant ends; end them under Sessions.</p>
      {endOthers.error && <Failed error={endOthers.error} />}
      {isPending ? <Wait /> : error && !data ? <Failed error={error} retry={() => void refetch()} /> : <SignIns of={name} tokens={data} own={own} />}
    </section>
  );
}
