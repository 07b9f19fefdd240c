// What stands where something is not there: empty, loading, refused, out of reach. And what passes by: toasts.
import { useEffect, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import { Problem, Unreachable } from "../api/client";
import { Shown } from "./text";

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <strong>{title}</strong>
      {children}
    </div>
  );
}

export function Wait({ lines = 4 }: { lines?: number }) {
  return (
    <div className="wait" role="status" aria-label="loading">
      {Array.from({ length: lines }, (_, at) => (
        <i key={at} />
      ))}
    </div>
  );
}

/** In another tab: this one has what somebody wrote. */
export function SignInAgain() {
  return (
    <p>
      <a className="button small" href="/sign-in" target="_blank" rel="noopener">
        Sign in again
      </a>{" "}
      It opens another tab: what you wrote here stays.
    </p>
  );
}

/** Nothing is in the way but the age of the sign-in. */
const OLD_SIGN_IN = "REQ-010";

/** Why not, and what to do next: the gateway's own words, with their code. */
export function Failed({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = error instanceof Problem ? error : undefined;
  return (
    <div className="note bad stack" role="alert">
      <div>
        <strong>
          <Shown text={problem?.message ?? (error instanceof Unreachable ? "The gateway can't be reached" : error instanceof Error ? error.message : "Something went wrong")} />
        </strong>{" "}
        {problem?.code && <code>{problem.code}</code>}
        {problem?.body.why && (
          <p>
            <Shown text={problem.body.why} />
          </p>
        )}
        {problem?.body.next && (
          <p>
            Next: <Shown text={problem.body.next} />
          </p>
        )}
        {problem?.code === OLD_SIGN_IN && <SignInAgain />}
        {error instanceof Unreachable && <p>Nothing was decided here. Try again when the line is back.</p>}
      </div>
      {retry && (
        <button type="button" className="button small" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** The platform's own dialog: it holds the focus, and Escape closes it. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog ref={ref} aria-label={title} onCancel={(event) => (event.preventDefault(), onClose())} onClick={(event) => event.target === ref.current && onClose()}>
      <div className="dialog">
        <h1>{title}</h1>
        {children}
      </div>
    </dialog>
  );
}

interface Toast {
  id: number;
  said: ReactNode;
}
let toasts: Toast[] = [];
let next = 0;
const listeners = new Set<() => void>();
const tell = () => listeners.forEach((listener) => listener());

export function toast(said: ReactNode) {
  const id = (next += 1);
  toasts = [...toasts, { id, said }].slice(-3);
  tell();
  setTimeout(() => {
    toasts = toasts.filter((toast) => toast.id !== id);
    tell();
  }, 6000);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => (listeners.add(listener), () => listeners.delete(listener)),
    () => toasts,
  );
  return (
    <div className="toasts" role="status">
      {shown.map((toast) => (
        <div key={toast.id} className="toast">
          {toast.said}
        </div>
      ))}
    </div>
  );
}

/** Asks for the next part of a list, if there is more. */
export function Older({ of, children = "Older ones" }: { of: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => unknown }; children?: ReactNode }) {
  if (!of.hasNextPage) return null;
  return (
    <button type="button" className="button" disabled={of.isFetchingNextPage} onClick={() => void of.fetchNextPage()}>
      {children}
    </button>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      className="button small"
      onClick={() =>
        void navigator.clipboard.writeText(text).then(() => {
          setCopied(true);
          setTimeout(() => setCopied(false), 2000);
        })
      }
    >
      {copied ? "Copied" : label}
    </button>
  );
}
