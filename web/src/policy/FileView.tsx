// A file of a bundle, to be read: coloured, with its lines numbered, at the line that somebody pointed to. In a shadow root, as the editor of
// statements is.
import { EditorState, StateField } from "@codemirror/state";
import { Decoration, EditorView, lineNumbers } from "@codemirror/view";
import { useEffect, useRef } from "react";
import { readOnly } from "./readOnly";

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
          readOnly(path),
          pointedAt(line),
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
