// What changed in a file of a bundle: the new text, with what was taken out standing where it stood.
import { unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView, lineNumbers } from "@codemirror/view";
import { useEffect, useRef } from "react";
import { readOnly } from "./readOnly";

export default function DiffView({ path, before, after }: { path: string; before: string; after: string }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: after,
        extensions: [
          lineNumbers(),
          readOnly(path),
          unifiedMergeView({ original: before, mergeControls: false, gutter: true, collapseUnchanged: { margin: 3, minSize: 8 } }),
          theme,
        ],
      }),
    });
    return () => view.destroy();
  }, [path, before, after]);
  return <div ref={host} onKeyDown={(event) => event.stopPropagation()} />;
}

const theme = EditorView.theme({
  ".cm-changedLine": { backgroundColor: "var(--good-soft) !important" },
  ".cm-changedLineGutter": { backgroundColor: "var(--good) !important" },
  ".cm-changedText": { background: "none !important", borderBottom: "2px solid var(--good)" },
  ".cm-deletedChunk": { backgroundColor: "var(--bad-soft) !important", paddingLeft: "8px" },
  ".cm-deletedLineGutter": { backgroundColor: "var(--bad) !important" },
  ".cm-deletedChunk .cm-deletedText": { background: "none !important", borderBottom: "2px solid var(--bad)" },
  ".cm-collapsedLines": { background: "var(--paper)", color: "var(--ink-2)" },
});
