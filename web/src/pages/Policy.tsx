// Policy: why it answers as it does, for everybody about themselves; the bundle, its cases and its versions, for auditors and administrators.
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { answer, api, type LedgerLine } from "../api/client";
import type { components } from "../api/schema";
import { whoami } from "../api/queries";
import { bundleOf } from "../policy/bundle";
import { Changes } from "../policy/Changes";
import { Explain } from "../policy/Explain";
import { ProofBadge } from "../request/Timeline";
import { useTitle } from "../shell/Shell";
import { Empty, Failed, Older, Wait } from "../ui/feedback";
import { Operations } from "../ui/state";
import { Shown } from "../ui/text";
import { At } from "../ui/time";
import "../policy/policy.css";

type Bundle = components["schemas"]["Bundle"];

const FileView = lazy(() => import("../policy/FileView"));
const route = getRouteApi("/signed-in/policy");
const PAGE = 50;

export default function Policy() {
  useTitle("Policy");
  const { show = "explain", hash, from } = route.useSearch();
  const { data: who } = useQuery(whoami);
  const reads = who?.audits === true;
  const bundle = useQuery({ ...bundleOf(hash), enabled: reads });
  const files = bundle.data && Object.keys(bundle.data.files);
  return (
    <div className="stack">
      <div className="row apart">
        <h1>Policy</h1>
        {reads && (
          <nav className="tabs main-tabs" aria-label="what to show">
            {(["explain", "text", "cases", "versions"] as const).map((each) => (
              <Link key={each} to="/policy" search={{ show: each, ...(hash && { hash }) }} aria-current={show === each ? "page" : undefined}>
                {each}
              </Link>
            ))}
          </nav>
        )}
      </div>
      {reads && bundle.data && show !== "versions" && (
        <p className="hint">
          {bundle.data.active ? "In force: " : "Not in force: "}
          <code className="digest">{bundle.data.hash}</code>
          {!bundle.data.active && (
            <>
              {" "}
              <Link to="/policy" search={{ show }}>
                Show what is
              </Link>
            </>
          )}
        </p>
      )}
      {!reads || show === "explain" ? (
        reads && bundle.isPending ? <Wait /> : <Explain files={reads ? files : undefined} />
      ) : show === "versions" ? (
        hash && from ? <Changes from={from} to={hash} /> : <Versions />
      ) : bundle.isPending ? (
        <Wait lines={8} />
      ) : bundle.error && !bundle.data ? (
        <Failed error={bundle.error} retry={() => void bundle.refetch()} />
      ) : show === "cases" ? (
        <Cases of={bundle.data} />
      ) : (
        <Text of={bundle.data} />
      )}
    </div>
  );
}

function Text({ of }: { of: Bundle }) {
  const { file, line, hash } = route.useSearch();
  const paths = Object.keys(of.files);
  const shown = file !== undefined && file in of.files ? file : (paths.find((path) => path.startsWith("policies/")) ?? paths[0]);
  if (shown === undefined) return <Empty title="The bundle is empty" />;
  return (
    <div className="bundle">
      <nav className="card rows" aria-label="files of the bundle">
        <ul>
          {paths.map((path) => (
            <li key={path}>
              <Link to="/policy" search={{ show: "text", file: path, ...(hash && { hash }) }} className="item" aria-current={path === shown}>
                <Shown text={path} />
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <Suspense fallback={<Wait lines={8} />}>
        <FileView path={shown} text={of.files[shown] ?? ""} line={line} />
      </Suspense>
    </div>
  );
}

/** The golden matrix: what the bundle's authors say must come out, and whether it does. */
function Cases({ of }: { of: Bundle }) {
  const [resource, setResource] = useState("");
  const names = [...new Set(of.cases.map((each) => each.resource))];
  const shown = of.cases.filter((each) => resource === "" || each.resource === resource);
  const wrong = of.cases.filter((each) => each.differences.length > 0).length;
  if (of.cases.length === 0)
    return (
      <Empty title="This bundle has no cases">
        <p>Cases in tests/*.toml say what must come out; they are run before a bundle applies.</p>
      </Empty>
    );
  return (
    <section className="card stack" aria-label="cases">
      <div className="row apart">
        <p className={wrong > 0 ? "state bad" : "state good"}>{wrong > 0 ? `✗ ${wrong} of ${of.cases.length} come out otherwise` : `✓ all ${of.cases.length} come out as they should`}</p>
        <label className="row">
          <span className="quiet">on</span>
          <select className="input search" value={resource} onChange={(event) => setResource(event.target.value)} aria-label="resource">
            <option value="">everything</option>
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      </div>
      <div className="scroll" tabIndex={0} role="region" aria-label="table of cases">
        <table className="table cases">
          <thead>
            <tr>
              {["Who", "On", "Does", "Comes out", "Says"].map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((each) => (
              <tr key={`${each.file}:${each.line}`}>
                <td>
                  <span className="strong">
                    <Shown text={each.principal} />
                  </span>{" "}
                  <span className="quiet">
                    <Shown text={each.groups.join(", ")} />
                  </span>
                </td>
                <td className="mono">
                  <Shown text={each.resource} />
                </td>
                <td>
                  <Operations of={each.operations} /> <span className="quiet">{[each.exact && "exact", each.about].filter(Boolean).join(", ")}</span>
                </td>
                <td>
                  <span className={`state whole ${each.differences.length > 0 ? "bad" : each.expected.startsWith("allow") || each.expected === "may approve" ? "good" : each.expected.startsWith("need") ? "warn" : ""}`}>
                    {each.differences.length > 0 ? "✗ " : ""}
                    <Shown text={each.expected} />
                  </span>
                  {each.differences.map((difference, at) => (
                    <p key={at} className="note bad">
                      <Shown text={difference} />
                    </p>
                  ))}
                </td>
                <td>
                  <Link to="/policy" search={{ show: "text", file: each.file, line: each.line }}>
                    <Shown text={each.name} />
                  </Link>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {of.cases_in_all > of.cases.length && <p className="hint">The first {of.cases.length} of {of.cases_in_all}; safeconduct policy test runs all.</p>}
    </section>
  );
}

interface Applied {
  hash: string;
  by: { actor?: string; name?: string; cause?: string };
  standing_privilege: string | null;
}

function Versions() {
  const list = useInfiniteQuery({
    queryKey: ["policy", "versions"],
    queryFn: ({ pageParam }) => answer(api.GET("/api/v1/policy/versions", { params: { query: { limit: PAGE, ...(pageParam !== undefined && { before: pageParam }) } } })),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (page) => (page.length === PAGE ? page.at(-1)?.index : undefined),
  });
  const { data, error, isPending, refetch } = list;
  if (isPending) return <Wait lines={4} />;
  if (error && !data) return <Failed error={error} retry={() => void refetch()} />;
  const lines = data.pages.flat();
  if (lines.length === 0) return <Empty title="No bundle was applied yet" />;
  return (
    <>
      <ul className="card rows" aria-label="versions">
        {lines.map((line, at) => (
          <li key={line.index}>
            <Version line={line} active={at === 0} before={hashOf(lines[at + 1])} />
          </li>
        ))}
      </ul>
      <Older of={list} />
    </>
  );
}

const hashOf = (line: LedgerLine | undefined) => (line?.event as unknown as Applied | undefined)?.hash;

function Version({ line, active, before }: { line: LedgerLine; active: boolean; before: string | undefined }) {
  const applied = line.event as unknown as Applied | undefined;
  return (
    <div className="version">
      <div className="row apart">
        <span className="row">
          <At at={line.at} />
          {active && <span className="state good">● in force</span>}
          <span className="quiet">
            by <Shown text={applied?.by.name ?? applied?.by.cause ?? "unknown"} />
          </span>
        </span>
        <ProofBadge line={line} />
      </div>
      {applied ? (
        <span className="row">
          <Link to="/policy" search={{ show: "text", hash: applied.hash }} className="digest">
            {applied.hash}
          </Link>
          {before && before !== applied.hash && (
            <Link to="/policy" search={{ show: "versions", hash: applied.hash, from: before }}>
              What it changed
            </Link>
          )}
        </span>
      ) : (
        <span className="quiet">what it was, was erased</span>
      )}
      {applied?.standing_privilege && (
        <p className="note warn">
          Somebody could do this alone: <Shown text={applied.standing_privilege} />
        </p>
      )}
    </div>
  );
}
