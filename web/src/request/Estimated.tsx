// How many rows it may touch: what the server's own statistics say, told beside what is approved. The statement itself is not sent for it.
import { useQuery } from "@tanstack/react-query";
import type { AccessRequest } from "../api/client";
import { estimate } from "../api/queries";
import { Shown } from "../ui/text";
import { Ago } from "../ui/time";

const WAITS_TO_RUN = ["pending", "scheduled", "ready"];

/** True while it matters how much it would touch. */
export const isEstimated = (request: AccessRequest) => request.exact && WAITS_TO_RUN.includes(request.state);

export function Estimated({ id }: { id: string }) {
  const { data, error } = useQuery(estimate(id));
  return (
    <dd data-testid="rows" aria-live="polite" className={data?.read_at ? undefined : "quiet"}>
      {data ? <Shown text={data.summary} /> : error ? <Shown text={`unknown: ${error.message}`} /> : "the server's statistics are being read"}
      {data?.read_at && (
        <span className="quiet">
          , read <Ago at={data.read_at} />
        </span>
      )}
    </dd>
  );
}
