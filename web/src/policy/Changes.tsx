// What one version of the policy changed in the one before it, file by file.
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { Empty, Failed, Wait } from "../ui/feedback";
import { Shown } from "../ui/text";
import { bundleOf } from "./bundle";

const DiffView = lazy(() => import("./DiffView"));

export function Changes({ from, to }: { from: string; to: string }) {
  const before = useQuery(bundleOf(from));
  const after = useQuery(bundleOf(to));
  const error = before.error ?? after.error;
  if (error) return <Failed error={error} />;
  if (!before.data || !after.data) return <Wait lines={8} />;
  const [old, now] = [before.data.files, after.data.files];
  const changed = [...new Set([...Object.keys(old), ...Object.keys(now)])].sort().filter((path) => old[path] !== now[path]);
  return (
    <div className="stack">
      <dl className="facts">
        <dt>from</dt>
        <dd>
          <Link to="/policy" search={{ show: "text", hash: from }} className="digest">
            {from}
          </Link>
        </dd>
        <dt>to</dt>
        <dd>
          <Link to="/policy" search={{ show: "text", hash: to }} className="digest">
            {to}
          </Link>
        </dd>
      </dl>
      {changed.length === 0 && <Empty title="Nothing differs" />}
      {changed.map((path) => (
        <section key={path} className="section" aria-label={path}>
          <h2 className="row">
            <span className="mono">
              <Shown text={path} />
            </span>
            {!(path in old) && <span className="chip">new</span>}
            {!(path in now) && <span className="chip severe">removed</span>}
          </h2>
          <Suspense fallback={<Wait />}>
            <DiffView path={path} before={old[path] ?? ""} after={now[path] ?? ""} />
          </Suspense>
        </section>
      ))}
    </div>
  );
}
