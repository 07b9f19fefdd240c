// Plays terminal recordings (asciicast). A document of its own: the player runs WebAssembly, which no page that can decide anything may do, and this one can
// call nobody; see docs/decisions/0026.
import { create } from "asciinema-player";
import "asciinema-player/dist/bundle/asciinema-player.css";
import "./shell/theme";
import "./style/base.css";

/** Larger files are not read: a recording of a day is far smaller. */
const MOST_BYTES = 256 * 1024 * 1024;

const file = document.querySelector<HTMLInputElement>("#file");
const refused = document.querySelector<HTMLElement>("#refused");
const place = document.querySelector<HTMLElement>("#player");
let playing: { dispose: () => void } | undefined;

/** The first line of an asciicast says so; anything else is not given to the player. */
function whyNot(text: string): string | undefined {
  try {
    const head: unknown = JSON.parse(text.slice(0, text.indexOf("\n")));
    const version = typeof head === "object" && head !== null && "version" in head ? head.version : undefined;
    return version === 2 || version === 3 ? undefined : "This is no asciicast of version 2 or 3.";
  } catch {
    return "This is no asciicast: its first line is no header.";
  }
}

async function play(chosen: File) {
  playing?.dispose();
  playing = undefined;
  const text = chosen.size > MOST_BYTES ? "" : await chosen.text();
  const why = chosen.size > MOST_BYTES ? "This file is too large to be played here." : whyNot(text);
  if (refused) {
    refused.hidden = why === undefined;
    refused.textContent = why ?? "";
  }
  if (why === undefined && place) playing = create({ data: text }, place, { fit: "width", idleTimeLimit: 2, controls: true, preload: true });
}

file?.addEventListener("change", () => {
  const chosen = file.files?.[0];
  if (chosen) void play(chosen);
});
