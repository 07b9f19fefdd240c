// Signing in with a password, or choosing one with a one-time code first, or by an identity provider that leads back to this page. The sign-in itself is a cookie that this page never sees.
import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, useRouter } from "@tanstack/react-router";
import { useEffect, useState, type FormEvent } from "react";
import { takeBrought, takeWelcome, type Brought } from "../api/brought";
import { answer, api } from "../api/client";
import { queryClient } from "../api/queries";
import { answerWithPasskey } from "../people/passkey";
import { Failed } from "../ui/feedback";

const route = getRouteApi("/sign-in");

/** How this page was opened: the provider does not carry that for us. A path to go to is ours, checked when it was taken up. */
const BEFORE = "safeconduct.before";

function takeBefore(): ReturnType<typeof route.useSearch> {
  const kept = sessionStorage.getItem(BEFORE);
  sessionStorage.removeItem(BEFORE);
  return kept ? JSON.parse(kept) : {};
}

export default function SignIn() {
  const search = route.useSearch();
  const { to, provider, port, challenge } = search;
  const router = useRouter();
  const [welcome] = useState(takeWelcome);
  const [withCode, setWithCode] = useState(welcome !== undefined);
  useEffect(() => {
    document.title = "Sign in · Safeconduct";
  }, []);
  const signIn = useMutation({
    mutationFn: async (form: { name: string; password: string; code?: string }) => {
      const { name, password, code } = form;
      if (code) await answer(api.POST("/api/v1/passwords", { body: { name, code, password } }));
      return answer(api.POST("/api/v1/browser/sign-in", { body: { name, password } }));
    },
    onSuccess: ({ who }) => {
      queryClient.clear();
      queryClient.setQueryData(["whoami"], who);
      void router.navigate({ href: to ?? "/", replace: true });
    },
  });
  const withPasskey = useMutation({
    mutationFn: async () => {
      const { challenge } = await answer(api.POST("/api/v1/browser/passkey"));
      return answer(api.POST("/api/v1/browser/passkey/sign-in", { body: await answerWithPasskey(challenge) }));
    },
    onSuccess: ({ who }) => {
      queryClient.clear();
      queryClient.setQueryData(["whoami"], who);
      void router.navigate({ href: to ?? "/", replace: true });
    },
  });
  const notUsed = withPasskey.error?.name === "NotAllowedError" ? new Error("No passkey was used: it was cancelled, or took too long.") : withPasskey.error;
  const providers = useQuery({ queryKey: ["providers"], queryFn: () => answer(api.GET("/api/v1/providers")) });
  const commandLine = port !== undefined && challenge ? { port, challenge } : undefined;
  const leave = useMutation({
    mutationFn: async (name: string) => {
      sessionStorage.setItem(BEFORE, JSON.stringify(search));
      return answer(api.POST("/api/v1/browser/providers/{name}/leave", { params: { path: { name } }, body: { command_line: commandLine } }));
    },
    onSuccess: ({ url }) => window.location.assign(url),
  });
  const arrive = useMutation({
    mutationFn: (brought: Brought) => answer(api.POST("/api/v1/browser/providers/sign-in", { body: brought })),
    onSuccess: ({ signed_in, command_line }) => {
      const before = takeBefore();
      if (command_line) {
        window.location.replace(command_line);
      } else if (signed_in) {
        queryClient.clear();
        queryClient.setQueryData(["whoami"], signed_in.who);
        void router.navigate({ href: before.to ?? "/", replace: true });
      }
    },
    // As it was before: the next try leads to the same place, or to the command line that still waits.
    onError: () => void router.navigate({ to: "/sign-in", search: takeBefore(), replace: true }),
  });
  const { mutate: bringBack } = arrive;
  useEffect(() => {
    const brought = takeBrought();
    if (brought) bringBack(brought);
  }, [bringBack]);
  const offered = (providers.data ?? []).filter(({ name }) => !commandLine || name === provider);
  if (arrive.isPending) {
    return (
      <main className="gate">
        <p role="status">One moment…</p>
      </main>
    );
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const field = (name: string) => String(fields.get(name) ?? "");
    if (!signIn.isPending) signIn.mutate({ name: field("name").trim(), password: field("password"), code: withCode ? field("code").trim() : undefined });
  };
  return (
    <main className="gate">
      <form className="card" onSubmit={submit}>
        <div className="row">
          <img src="/icon.svg" alt="" width="32" height="32" />
          <h1>Sign in to Safeconduct</h1>
        </div>
        {to?.startsWith("/access-requests/") && <p className="quiet">You will see the access request next. Nothing is decided by signing in.</p>}
        {commandLine && <p>A command line on this machine asks to be signed in as you. Go on only if you started it.</p>}
        {offered.map(({ name, title }) => (
          <button key={name} type="button" className="button" disabled={leave.isPending} onClick={() => leave.mutate(name)}>
            Sign in with {title}
          </button>
        ))}
        {!commandLine && (
          <button type="button" className="button" disabled={withPasskey.isPending} onClick={() => withPasskey.mutate()}>
            {withPasskey.isPending ? "Waiting for your passkey…" : "Sign in with a passkey"}
          </button>
        )}
        {notUsed && <Failed error={notUsed} />}
        {(leave.error ?? arrive.error) && <Failed error={leave.error ?? arrive.error} />}
        {commandLine && providers.isSuccess && offered.length === 0 && <Failed error={new Error("The identity provider that the command line names is not known here.")} />}
        {!commandLine && (
          <>
            <label className="field">
              <span>Name</span>
              <input className="input" name="name" required autoFocus={!welcome} defaultValue={welcome?.name} autoComplete="username" autoCapitalize="none" spellCheck={false} />
            </label>
            {withCode && (
              <label className="field">
                <span>One-time code</span>
                <input className="input" name="code" required defaultValue={welcome?.code} autoComplete="one-time-code" spellCheck={false} />
                <small>An administrator handed it out. It works once.</small>
              </label>
            )}
            <label className="field">
              <span>{withCode ? "New password" : "Password"}</span>
              <input className="input" name="password" type="password" required autoFocus={welcome !== undefined} minLength={withCode ? 12 : 1} autoComplete={withCode ? "new-password" : "current-password"} />
              {withCode && <small>At least 12 characters.</small>}
            </label>
            {signIn.error && <Failed error={signIn.error} />}
            <button type="submit" className="button first" disabled={signIn.isPending}>
              {signIn.isPending ? "One moment…" : withCode ? "Choose and sign in" : "Sign in"}
            </button>
            <button type="button" className="button plain" onClick={() => setWithCode(!withCode)}>
              {withCode ? "I have a password" : "I have a one-time code"}
            </button>
          </>
        )}
      </form>
    </main>
  );
}
