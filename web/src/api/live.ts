// News from the gateway: what changed is asked for again. Knows whether the line is up; never shows what news says itself.
import { useSyncExternalStore } from "react";
import { queryClient, whoami } from "./queries";

interface News {
  index: number;
  stream: string;
  kind: string;
  access_request?: string;
}

export interface Line {
  /** Whether news arrives; `undefined` until the first answer. */
  up: boolean | undefined;
  /** Since when it does not. */
  downSince: number | undefined;
}

let line: Line = { up: undefined, downSince: undefined };
let source: EventSource | undefined;
let again: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();

function set(next: Line) {
  line = next;
  for (const listener of listeners) listener();
}

/** Follows the news until `hangUp`. */
export function follow() {
  if (source) return;
  source = new EventSource("/api/v1/events");
  source.onopen = () => {
    const wasDown = line.up === false;
    set({ up: true, downSince: undefined });
    // What happened before the line was up is told to nobody: whatever was shown by then may be old.
    void queryClient.invalidateQueries(wasDown ? {} : { queryKey: ["access"] });
  };
  source.onerror = () => {
    if (line.up !== false) set({ up: false, downSince: Date.now() });
    if (source?.readyState === EventSource.CLOSED) {
      // Refused, not cut: signed out, or the gateway is restarting behind a proxy.
      hangUp();
      again = setTimeout(() => {
        void queryClient.invalidateQueries({ queryKey: whoami.queryKey });
        follow();
      }, 2000);
    }
  };
  source.addEventListener("news", (event) => changed(JSON.parse((event as MessageEvent<string>).data) as News));
  source.addEventListener("missed", () => void queryClient.invalidateQueries());
}

export function hangUp() {
  clearTimeout(again);
  source?.close();
  source = undefined;
}

function changed(news: News) {
  if (news.access_request) {
    void queryClient.invalidateQueries({ queryKey: ["access"] });
  } else if (news.stream.startsWith("se-")) {
    void queryClient.invalidateQueries({ queryKey: ["sessions"] });
    void queryClient.invalidateQueries({ queryKey: ["recording", news.stream] });
  } else if (news.stream === "policy" || news.stream === "directory") {
    void queryClient.invalidateQueries();
  }
}

export function useLine(): Line {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => line,
  );
}
