// A file of a bundle, to be read: coloured, with its lines numbered, at the line that somebody pointed to. In a shadow root, as the editor of
// statements is.
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorState, StateField } from "@codemirror/state";
import { Decoration, EditorView, highlightSpecialChars, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import { ODD } from "../ui/text";
import { languageOf } from "./languages";

export default function FileView({ path, text, line }: { path: string; text: string; line: number | undefined }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: text,
        extensions: [
          lineNumbers(),
          EditorView.lineWrapping,
          EditorState.readOnly.of(true),
          EditorView.editable.of(false),
          // Focus and the arrow keys stay: a text that can't be reached by keyboard can't be read by everybody.
          EditorView.contentAttributes.of({ "aria-label": path, "aria-readonly": "true", tabindex: "0" }),
          highlightSpecialChars({ specialChars: new RegExp(ODD.source, "gu") }),
          languageOf(path),
          syntaxHighlighting(colours),
          pointedAt(line),
          theme,
        ],
      }),
    });
    if (line !== undefined && line <= view.state.doc.lines) {
      const at = view.state.doc.line(line).from;
      view.dispatch({ selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) });
    }
    return () => view.destroy();
  }, [path, text, line]);
  return <div ref={host} onKeyDown={(event) => event.stopPropagation()} />;
}

const pointedAt = (line: number | undefined) =>
  StateField.define({
    create: (state) => (line !== undefined && line <= state.doc.lines ? Decoration.set([Decoration.line({ class: "cm-pointed" }).range(state.doc.line(line).from)]) : Decoration.none),
    update: (marks) => marks,
    provide: (field) => EditorView.decorations.from(field),
  });

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
