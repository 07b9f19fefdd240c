// The session as a line of time: what changed something, what was held, what went wrong; and playing it, as fast as one likes.
import { useEffect, useRef, useState } from "react";
import { clockTime } from "../ui/time";
import { isChange, isError, isHeld, type Entry } from "./records";

const SPEEDS = [1, 4, 16, 64] as const;
/** Nobody watches somebody think: a longer pause is passed over in this time. */
const LONGEST_PAUSE_MS = 2000;

interface Props {
  entries: Entry[];
  outcomes: Map<number | undefined, Entry>;
  /** Where one is. */
  at: string | undefined;
  /** Goes to the last thing that happened until then, in milliseconds since 1970. */
  go: (to: number) => void;
}

export function TimeBar({ entries, outcomes, at, go }: Props) {
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState<(typeof SPEEDS)[number]>(4);
  const times = entries.filter((entry) => entry.what !== "outcome").map((entry) => Date.parse(entry.at));
  const first = times[0] ?? 0;
  const last = times.at(-1) ?? 0;
  const here = at ? Date.parse(at) : first;
  const next = times.find((time) => time > here);
  const over = entries.some((entry) => entry.what === "closed");
  const latest = useRef(go);
  latest.current = go;
  useEffect(() => {
    if (!playing) return;
    // What is still open goes on as it happens.
    if (next === undefined) return over ? setPlaying(false) : undefined;
    const wait = setTimeout(() => latest.current(next), Math.min((next - here) / speed, LONGEST_PAUSE_MS));
    return () => clearTimeout(wait);
  }, [playing, speed, here, next, over]);
  if (times.length < 2 || last === first) return null;
  const place = (time: number) => (1000 * (time - first)) / (last - first);
  const marks = entries.flatMap((entry) => {
    const kind = isError(entry, outcomes.get(entry.statement)) ? "error" : isHeld(entry) ? "held" : isChange(entry) ? "change" : undefined;
    return kind ? [{ n: entry.n, kind, x: place(Date.parse(entry.at)) }] : [];
  });
  const count = (kind: string) => marks.filter((mark) => mark.kind === kind).length;
  return (
    <div className="timebar" role="group" aria-label="time">
      <button type="button" className="button small" aria-label={playing ? "pause" : "play"} onClick={() => (next === undefined && go(first), setPlaying(!playing))}>
        {playing ? "❚❚" : "▶"}
      </button>
      <select className="input" aria-label="speed" value={speed} onChange={(event) => setSpeed(Number(event.target.value) as (typeof SPEEDS)[number])}>
        {SPEEDS.map((each) => (
          <option key={each} value={each}>
            {each}×
          </option>
        ))}
      </select>
      <div className="line">
        <svg viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true">
          <line className="track" x1="0" x2="1000" y1="10" y2="10" />
          {marks.map(({ n, kind, x }) => (kind === "error" ? <path key={n} className="error" d={`M${x - 4} 2 L${x + 4} 2 L${x} 18 Z`} /> : kind === "held" ? <rect key={n} className="held" x={x - 2} y="2" width="4" height="16" /> : <circle key={n} className="change" cx={x} cy="10" r="4" />))}
        </svg>
        <input
          type="range"
          aria-label="moment"
          aria-valuetext={clockTime(new Date(here).toISOString())}
          min={first}
          max={last}
          step={Math.max(1, Math.floor((last - first) / 1000))}
          value={here}
          onChange={(event) => {
            setPlaying(false);
            go(Number(event.target.value));
          }}
        />
      </div>
      <span className="hint nowrap">
        {clockTime(new Date(here).toISOString())} · {count("change")} changed, {count("held")} held, {count("error")} failed
      </span>
    </div>
  );
}
