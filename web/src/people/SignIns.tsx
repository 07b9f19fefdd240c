// Sign-ins and tokens of somebody, each of which can be ended.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Token } from "../api/client";
import { Empty, Failed, toast } from "../ui/feedback";
import { Shown } from "../ui/text";
import { Ago, At } from "../ui/time";

export function SignIns({ of, tokens, own }: { of: string; tokens: Token[]; own?: string }) {
  if (tokens.length === 0) return <Empty title="Nowhere" />;
  return (
    <ul className="card rows">
      {tokens.map((token) => (
        <li key={token.sign_in}>
          <SignIn of={of} token={token} here={token.sign_in === own} />
        </li>
      ))}
    </ul>
  );
}

function SignIn({ of, token, here }: { of: string; token: Token; here: boolean }) {
  const queries = useQueryClient();
  const end = useMutation({
    mutationFn: () => answer(api.DELETE("/api/v1/tokens/{name}/{sign_in}", { params: { path: { name: of, sign_in: token.sign_in } } })),
    onSuccess: () => toast("Ended"),
    onSettled: () => queries.invalidateQueries({ queryKey: ["tokens", of] }),
  });
  return (
    <div className="item">
      <div className="row apart">
        <span className="row">
          <span className="strong">
            {token.provider ? (
              <>
                by <Shown text={token.provider} />
              </>
            ) : token.method === "token" ? (
              "token"
            ) : (
              `with a ${token.method}`
            )}
          </span>
          {here && <span className="chip">this browser</span>}
          {token.scopes && <span className="chip">{token.scopes.join(", ")} only</span>}
        </span>
        {!here && (
          <button type="button" className="button small danger" disabled={end.isPending} aria-label={`end ${token.sign_in}`} onClick={() => end.mutate()}>
            End
          </button>
        )}
      </div>
      <span className="quiet">
        <Ago at={token.created_at} />
        {token.source !== "issued" && (
          <>
            , from <Shown text={token.source} />
          </>
        )}
        {token.expires_at && (
          <>
            , until <At at={token.expires_at} />
          </>
        )}
        <span className="mono quiet"> {token.sign_in}</span>
      </span>
      <span className="quiet">
        {token.last_used_at ? (
          <>
            Last used <Ago at={token.last_used_at} />
            {token.last_used_from && (
              <>
                , from <Shown text={token.last_used_from} />
              </>
            )}
          </>
        ) : (
          "Never used"
        )}
      </span>
      {end.error && <Failed error={end.error} />}
    </div>
  );
}
