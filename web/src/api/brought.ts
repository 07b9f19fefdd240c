// What an address brought along: what an identity provider gave the browser, or the one-time code of a first start.
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

export interface Welcome {
  name: string;
  code: string;
}

let welcome = ((): Welcome | undefined => {
  const fragment = new URLSearchParams(window.location.hash.slice(1));
  const [name, code] = [fragment.get("name"), fragment.get("code")];
  if (!name || !code) return undefined;
  // Not left in the address, where the next who looks at the screen would read it.
  window.history.replaceState(window.history.state, "", window.location.pathname + window.location.search);
  return { name, code };
})();

/** Given out once. Nothing is sent: the person chooses a password with it. */
export function takeWelcome(): Welcome | undefined {
  const taken = welcome;
  welcome = undefined;
  return taken;
}
