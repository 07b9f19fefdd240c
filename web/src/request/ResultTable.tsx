// Results as tables. NULL is not a text, odd characters are shown as what they are, and a long table is shown part by part.
import { useState } from "react";
import { State } from "../ui/state";
import { save } from "../ui/save";
import { Shown } from "../ui/text";
import { csv, type Result, type RowSet } from "./result";

/** Rows shown at first, and with every "more". */
const STEP = 200;

export function Results({ of, name, running }: { of: Result; name: string; running: boolean }) {
  return (
    <>
      {of.sets.map((set, at) => (
        <Rows key={at} of={set} name={of.sets.length > 1 ? `${name}-${at + 1}` : name} running={running} />
      ))}
      {of.notes.map((note, at) => (
        <p key={at} className="mono">
          <Shown text={note} />
        </p>
      ))}
      {of.end ? (
        <p className={`note ${of.outcome === "executed" ? "good" : of.outcome ? "bad" : "warn"}`} data-testid="end">
          <Shown text={of.end} />
        </p>
      ) : (
        <State of="claimed" />
      )}
    </>
  );
}

function Rows({ of, name, running }: { of: RowSet; name: string; running: boolean }) {
  const [shown, setShown] = useState(STEP);
  const { columns, rows, more } = of;
  return (
    <div className="section">
      <div className="scroll results" tabIndex={0} role="region" aria-label={`${name}: rows`}>
        <table className="table">
          <thead>
            <tr>
              {columns.map((column, at) => (
                <th key={at} scope="col">
                  <Shown text={column} />
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, shown).map((row, at) => (
              <tr key={at}>
                {row.map((value, column) => (
                  <td key={column} className="mono">
                    {value === null ? <em className="quiet">NULL</em> : <Shown text={value} />}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div className="row apart">
        <span className="hint">
          {rows.length.toLocaleString()} {rows.length === 1 ? "row" : "rows"}
          {rows.length > shown && `, the first ${shown.toLocaleString()} shown`}
          {more > 0 && `; ${more.toLocaleString()} more came and are not kept here: safeconduct run prints all`}
        </span>
        <span className="row">
          {rows.length > shown && (
            <button type="button" className="button small" onClick={() => setShown(shown + STEP)}>
              Show {Math.min(STEP, rows.length - shown)} more
            </button>
          )}
          {!running && (
            <button type="button" className="button small" onClick={() => save(`${name}.csv`, "text/csv", csv(of))}>
              Download CSV{more > 0 && " of these"}
            </button>
          )}
        </span>
      </div>
    </div>
  );
}
