// What policy will do with what is about to be asked. It comes from parsing alone: nobody is asked, nothing is stored, no database is touched.
import { useEffect, useState } from "react";
import type { PreviewAnswer } from "../api/client";
import { Sql } from "../sql/Sql";
import { SignInAgain } from "../ui/feedback";
import { Shown } from "../ui/text";
import { levelText } from "./envelope";
import { Derived } from "./Request";

/** Said for somebody who has not said why yet, so that policy can be asked. Never sent as a reason. */
export const NO_WORDS_YET = "not said yet";

/** What policy will do, beside the button that would make it so. */
export function Verdict({ of }: { of: PreviewAnswer }) {
  const { decision } = of;
  return (
    <div aria-live="polite" data-testid="verdict">
      {decision.outcome === "allow" && (
        <div className="note good">
          <strong>Allowed at once.</strong> Nobody needs to approve it.
        </div>
      )}
      {decision.outcome === "need_approval" && (
        <div className="note warn">
          <strong>Needs approval</strong> by {of.quorum}
          {levelText(decision.level)}.
          {of.eligible.length > 0 ? <> These may: <Shown text={of.eligible.join(", ")} />.</> : " Nobody here may give it at the moment."}
        </div>
      )}
      {decision.outcome === "deny" && (
        <div className="note bad">
          <strong>Refused.</strong> {of.sign_in_again === "passkey" ? "Policy wants a sign-in with a passkey for this." : of.sign_in_again ? "Policy wants a newer sign-in for this." : "Asking would change nothing."}
          {decision.reasons[0] && <> <Shown text={decision.reasons[0].text} /></>}
          {of.sign_in_again && <SignInAgain />}
        </div>
      )}
    </div>
  );
}

export function Foreseen({ of, text }: { of: PreviewAnswer; text: string | undefined }) {
  const { decision } = of;
  return (
    <div className="stack" data-testid="foreseen">
      {of.facts && <Derived facts={of.facts} rows={<dd className="quiet">unknown: no database is asked before somebody asks for it</dd>} />}
      <dl className="facts">
        {decision.max_duration && (
          <>
            <dt>at most</dt>
            <dd>{decision.max_duration}</dd>
          </>
        )}
        <dt>why</dt>
        <dd>
          <ul>
            {decision.reasons.map((reason, at) => (
              <li key={at}>
                <Shown text={reason.text} />
              </li>
            ))}
          </ul>
        </dd>
      </dl>
      {text && <Sql text={text} />}
      <p className="hint">Every statement is recorded. Nothing was sent or stored by looking.</p>
    </div>
  );
}

/** The value as it was when it last stood still. */
export function useLater(value: string, milliseconds: number): string {
  const [later, setLater] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLater(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return later;
}
