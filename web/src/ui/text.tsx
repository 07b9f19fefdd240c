// Text of others, shown as text: what would hide, reorder or fake something is made visible. Everything people or databases wrote goes through here.
import { Fragment, type ReactNode } from "react";

/** Control, invisible and bidirectional characters: the gateway's own list (crates/core/model/src/text.rs). */
export const ODD = /\r(?!\n)|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}\p{Cs}]/u;
/** A letter of another alphabet: in a word with Latin letters it passes for one of them. Scripts that are written without alphabets mix. */
const OTHER = String.raw`[[\p{L}\p{N}]--[\p{sc=Latin}\p{sc=Common}\p{sc=Inherited}\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}\p{sc=Bopo}]]`;
const IN_WORD = String.raw`[\p{L}\p{M}\p{N}_]*`;
const ODD_OR_NOT = new RegExp(String.raw`(${ODD.source}|(?<=\p{sc=Latin}${IN_WORD})${OTHER}|${OTHER}(?=${IN_WORD}\p{sc=Latin}))`, "v");
const ASCII = /^[\n\t -~]*$/;

export function Shown({ text }: { text: string }): ReactNode {
  if (ASCII.test(text)) return text;
  return text.split(ODD_OR_NOT).map((part, at) =>
    // Odd places hold what was split at.
    at % 2 === 1 ? <OddCharacter key={at} char={part} /> : <Fragment key={at}>{part}</Fragment>,
  );
}

function OddCharacter({ char }: { char: string }) {
  const code = `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
  return (
    <span className="odd" title={`the character ${code}, which would not be seen, or would be taken for another`}>
      {code}
    </span>
  );
}

/** Words that a person wrote, so that nobody takes them for ours. */
export function Words({ text, by }: { text: string; by: string }) {
  return (
    <figure className="section">
      <figcaption className="quiet">{by} wrote, and nobody checked it:</figcaption>
      <blockquote className="words" data-testid="words">
        <Shown text={text} />
      </blockquote>
    </figure>
  );
}
