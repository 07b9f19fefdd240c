// Bundles, as pages ask for them. A bundle of a hash never changes.
import { queryOptions } from "@tanstack/react-query";
import { answer, api } from "../api/client";

export const bundleOf = (hash: string | undefined) =>
  queryOptions({
    queryKey: ["policy", hash ?? "active"],
    queryFn: () => answer(api.GET("/api/v1/policy", { params: { query: { ...(hash && { hash }) } } })),
  });
