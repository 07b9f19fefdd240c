// How a text of a bundle looks where it can only be read.
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorState, type Extension } from "@codemirror/state";
import { EditorView, highlightSpecialChars } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { ODD } from "../ui/text";
import { languageOf } from "./languages";

export const readOnly = (path: string): Extension => [
  EditorView.lineWrapping,
  EditorState.readOnly.of(true),
  EditorView.editable.of(false),
  // Focus and the arrow keys stay: a text that can't be reached by keyboard can't be read by everybody.
  EditorView.contentAttributes.of({ "aria-label": path, "aria-readonly": "true", tabindex: "0" }),
  highlightSpecialChars({ specialChars: new RegExp(ODD.source, "gu") }),
  languageOf(path),
  syntaxHighlighting(colours),
  theme,
];

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--keyword)", fontWeight: "600" },
  { tag: tags.string, color: "var(--string)" },
  { tag: [tags.number, tags.bool], color: "var(--number)" },
  { tag: [tags.meta, tags.propertyName], color: "var(--accent)", fontWeight: "600" },
  { tag: tags.typeName, color: "var(--number)" },
  { tag: tags.comment, color: "var(--ink-2)", fontStyle: "italic" },
]);

const theme = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "var(--sunken)", border: "1px solid var(--line)", borderRadius: "var(--radius)", fontSize: "13px" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", maxHeight: "70vh" },
  ".cm-content": { padding: "10px 0" },
  ".cm-line": { padding: "0 12px 0 8px" },
  ".cm-pointed": { backgroundColor: "var(--accent-soft)", boxShadow: "inset 3px 0 var(--accent)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--ink-2)", border: "none" },
  ".cm-specialChar": { color: "var(--bad)", backgroundColor: "var(--bad-soft)", fontWeight: "700" },
});
