// Times as people read them. One clock ticks for all of them, once a second, and only while somebody looks.
import { useSyncExternalStore } from "react";
import { chosenZone } from "./zone";

let now = Date.now();
let ticking: ReturnType<typeof setInterval> | undefined;
const listeners = new Set<() => void>();

function subscribe(listener: () => void) {
  listeners.add(listener);
  ticking ??= setInterval(() => {
    if (document.hidden) return;
    now = Date.now();
    for (const each of listeners) each();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(ticking);
      ticking = undefined;
    }
  };
}

/** Milliseconds since 1970, moving once a second. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

export const fromMicros = (micros: number) => new Date(micros / 1000).toISOString();

const timeZone = chosenZone();
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", timeZone });
const sameDay = (a: Date, b: Date) => day.format(a) === day.format(b);

export function clockTime(at: string): string {
  const date = new Date(at);
  return sameDay(date, new Date()) ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

/** `4 s`, `12 min`, `3 h 5 min`, `2 d`. */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10 && seconds % 60 > 0) return `${minutes} min ${seconds % 60} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

export function At({ at }: { at: string }) {
  return (
    <time dateTime={at} title={at} className="nowrap">
      {clockTime(at)}
    </time>
  );
}

export function Ago({ at }: { at: string }) {
  const passed = useNow() - Date.parse(at);
  return (
    <time dateTime={at} title={clockTime(at)} className="nowrap">
      {passed < 5000 ? "just now" : `${span(passed)} ago`}
    </time>
  );
}

export function Left({ until, over = "over" }: { until: string; over?: string }) {
  const left = Date.parse(until) - useNow();
  return (
    <time dateTime={until} title={`until ${clockTime(until)}`} className="nowrap">
      {left > 0 ? `${span(left)} left` : over}
    </time>
  );
}

/** A ring that empties. The words beside it say the same. */
export function Ring({ from, until }: { from: string; until: string }) {
  const now = useNow();
  const whole = Date.parse(until) - Date.parse(from);
  const left = Math.min(1, Math.max(0, (Date.parse(until) - now) / whole));
  const around = 2 * Math.PI * 19;
  return (
    <svg viewBox="0 0 44 44" className={`ring ${left < 0.2 ? "soon" : ""}`} aria-hidden="true">
      <circle className="track" cx="22" cy="22" r="19" />
      <circle className="left" cx="22" cy="22" r="19" transform="rotate(-90 22 22)" strokeDasharray={`${around * left} ${around}`} />
    </svg>
  );
}
