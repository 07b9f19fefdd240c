// Signing in with a password, or choosing one with a one-time code first. The sign-in itself is a cookie that this page never sees.
import { useMutation } from "@tanstack/react-query";
import { getRouteApi, useRouter } from "@tanstack/react-router";
import { useEffect, useState, type FormEvent } from "react";
import { answer, api } from "../api/client";
import { queryClient } from "../api/queries";
import { Failed } from "../ui/feedback";

const route = getRouteApi("/sign-in");

export default function SignIn() {
  const { to } = route.useSearch();
  const router = useRouter();
  const [withCode, setWithCode] = useState(false);
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
        <label className="field">
          <span>Name</span>
          <input className="input" name="name" required autoFocus autoComplete="username" autoCapitalize="none" spellCheck={false} />
        </label>
        {withCode && (
          <label className="field">
            <span>One-time code</span>
            <input className="input" name="code" required autoComplete="one-time-code" spellCheck={false} />
            <small>An administrator handed it out. It works once.</small>
          </label>
        )}
        <label className="field">
          <span>{withCode ? "New password" : "Password"}</span>
          <input className="input" name="password" type="password" required minLength={withCode ? 12 : 1} autoComplete={withCode ? "new-password" : "current-password"} />
          {withCode && <small>At least 12 characters.</small>}
        </label>
        {signIn.error && <Failed error={signIn.error} />}
        <button type="submit" className="button first" disabled={signIn.isPending}>
          {signIn.isPending ? "One moment…" : withCode ? "Choose and sign in" : "Sign in"}
        </button>
        <button type="button" className="button plain" onClick={() => setWithCode(!withCode)}>
          {withCode ? "I have a password" : "I have a one-time code"}
        </button>
      </form>
    </main>
  );
}
