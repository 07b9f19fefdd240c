// What an identity provider gave the browser, in the address it led back to.
export interface Brought {
  code?: string;
  state: string;
  iss?: string;
  error?: string;
}

// Read when the app is loaded: the router tidies the address before any page is. The code is of no use without this browser's cookie, and once.
let brought = ((): Brought | undefined => {
  const search = new URLSearchParams(window.location.search);
  const state = search.get("state");
  if (state === null) return undefined;
  return { state, code: search.get("code") ?? undefined, iss: search.get("iss") ?? undefined, error: search.get("error") ?? undefined };
})();

/** Given out once: whatever comes back to this page later brings nothing. */
export function takeBrought(): Brought | undefined {
  const taken = brought;
  brought = undefined;
  if (taken) window.history.replaceState(window.history.state, "", "/sign-in");
  return taken;
}
