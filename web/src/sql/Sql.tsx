// SQL as it will run: coloured, laid out if it is one long line, never cut.
import { Fragment, memo, useMemo, useState } from "react";
import { Shown } from "../ui/text";
import { layOut } from "./layout";
import { lex } from "./lex";

/** Beyond this the text scrolls within its own box; all of it is there. */
const LONG_LINES = 40;

export const Sql = memo(function Sql({ text, plain = false }: { text: string; plain?: boolean }) {
  const [asWritten, setAsWritten] = useState(plain);
  const written = useMemo(() => lex(text), [text]);
  const laid = useMemo(() => (plain ? written : layOut(text)), [text, plain, written]);
  const differs = useMemo(() => laid.map((token) => token.text).join("") !== text, [laid, text]);
  const tokens = asWritten ? written : laid;
  const lines = useMemo(() => tokens.reduce((count, token) => count + token.text.split("\n").length - 1, 1), [tokens]);
  const long = lines > LONG_LINES || text.length > 4000;
  return (
    <div className="section">
      {/* A box that scrolls must be reachable by keyboard. */}
      <pre className={`sql ${long ? "long" : ""}`} data-testid="sql" tabIndex={long ? 0 : undefined}>
        {tokens.map((token, at) => {
          const shown = <Shown text={token.text} />;
          return token.kind === "space" || token.kind === "word" || token.kind === "operator" ? (
            <Fragment key={at}>{shown}</Fragment>
          ) : (
            <span key={at} className={token.kind}>
              {shown}
            </span>
          );
        })}
      </pre>
      {(differs || long) && (
        <p className="row hint">
          {long && <span>{lines.toLocaleString()} lines, {text.length.toLocaleString()} characters, all of them here.</span>}
          {differs && (
            <>
              <span>{asWritten ? "Exactly as written." : "Line breaks added for reading; nothing else differs."}</span>
              <button type="button" className="button small plain" onClick={() => setAsWritten(!asWritten)}>
                {asWritten ? "Lay out" : "As written"}
              </button>
            </>
          )}
        </p>
      )}
    </div>
  );
});
