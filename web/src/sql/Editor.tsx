// Where a statement is written. It stands in a shadow root: there the editor's own styles are constructed sheets, which the pages' policy
// against inline styles allows. Completes keywords and names that it is given, and asks no database for any.
import { autocompletion, closeCompletion, completionKeymap, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { keywordCompletionSource, PostgreSQL } from "@codemirror/lang-sql";
import { bracketMatching, HighlightStyle, syntaxHighlighting, syntaxTree } from "@codemirror/language";
import { EditorState, Prec } from "@codemirror/state";
import { EditorView, highlightSpecialChars, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import { ODD } from "../ui/text";

interface Props {
  label: string;
  value: string;
  onChange: (text: string) => void;
  /** Names to complete. */
  names: readonly string[];
  /** Ctrl or Cmd with Enter. */
  onRun: () => void;
}

const NAME = /[\p{L}_][\p{L}\p{N}_$.]*/u;

export function Editor(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const own = (context: CompletionContext): CompletionResult | null => {
      const word = context.matchBefore(NAME);
      if (!word || /String|Comment/.test(syntaxTree(context.state).resolveInner(context.pos, -1).name)) return null;
      return { from: word.from, options: latest.current.names.map((label) => ({ label, type: "variable", boost: 1 })), validFor: /^[\p{L}\p{N}_$.]*$/u };
    };
    const editor = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: latest.current.value,
        extensions: [
          lineNumbers(),
          history(),
          bracketMatching(),
          EditorView.lineWrapping,
          highlightSpecialChars({ specialChars: new RegExp(ODD.source, "gu") }),
          PostgreSQL.extension,
          syntaxHighlighting(colours),
          autocompletion({ override: [own, keywordCompletionSource(PostgreSQL, false)], icons: false }),
          placeholder("select …"),
          Prec.highest(keymap.of([{ key: "Mod-Enter", run: (editor) => (closeCompletion(editor), latest.current.onRun(), true) }])),
          keymap.of([...completionKeymap, ...historyKeymap, ...defaultKeymap]),
          EditorView.contentAttributes.of({ "aria-label": latest.current.label, tabindex: "0", spellcheck: "false", autocapitalize: "none", autocorrect: "off" }),
          replacing,
          EditorView.updateListener.of((update) => update.docChanged && latest.current.onChange(update.state.doc.toString())),
          theme,
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, []);

  useEffect(() => {
    const editor = view.current;
    if (!editor || editor.state.doc.toString() === props.value) return;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: props.value } });
  }, [props.value]);

  // Keys that mean something on a page mean nothing here.
  return <div ref={host} className="editor" onKeyDown={(event) => event.stopPropagation()} />;
}

/** Browsers that replace coloured text by typed text keep its colours in an inline style, which the pages' policy forbids: it is replaced here. */
const replacing = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { state } = view;
    if (event.inputType !== "insertText" || event.data === null || event.isComposing || view.composing) return false;
    if (state.selection.main.empty && state.doc.length > 0 && !event.data.includes("\n")) return false;
    event.preventDefault();
    view.dispatch(state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    return true;
  },
});

/** The colours that statements have everywhere; custom properties reach into the shadow. */
const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--keyword)", fontWeight: "600" },
  { tag: [tags.typeName, tags.standard(tags.name)], color: "var(--keyword)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--number)" },
  { tag: tags.comment, color: "var(--ink-2)", fontStyle: "italic" },
]);

const theme = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "var(--sunken)", border: "1px solid var(--line-strong)", borderRadius: "var(--radius)", fontSize: "13.5px" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", minHeight: "168px", maxHeight: "50vh" },
  ".cm-content": { padding: "10px 0", caretColor: "var(--ink)" },
  ".cm-line": { padding: "0 12px 0 8px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--ink-2)", border: "none" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 2px 0 10px" },
  ".cm-placeholder": { color: "var(--ink-2)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--accent)" },
  ".cm-nonmatchingBracket, &.cm-focused .cm-nonmatchingBracket": { backgroundColor: "var(--bad-soft)" },
  ".cm-specialChar": { color: "var(--bad)", backgroundColor: "var(--bad-soft)", fontWeight: "700" },
  ".cm-tooltip": { backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid var(--line-strong)", borderRadius: "var(--radius)", boxShadow: "0 6px 20px rgb(0 0 0 / 0.2)", zIndex: "4" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", maxHeight: "196px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "4px 10px", lineHeight: "20px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--accent-ink)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  "@media (max-width: 640px)": { "&": { fontSize: "16px" }, ".cm-gutters": { display: "none" } },
});
