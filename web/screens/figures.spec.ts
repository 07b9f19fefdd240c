// What opening a link costs, and how soon news is seen: the figures in docs/performance.md. Prints them; asserts what is promised about size.
import { expect, test } from "../tests/gateway";

test("figures", async ({ gateway, as }) => {
  const id = await gateway.pending("to be measured");
  const paints: number[] = [];
  let scripts = 0;
  for (let run = 0; run < 5; run += 1) {
    const page = await as("bob", { viewport: { width: 360, height: 740 } });
    const sizes: Promise<number>[] = [];
    page.on("requestfinished", (request) => {
      if (request.resourceType() === "script") sizes.push(request.sizes().then((size) => size.responseBodySize));
    });
    await page.goto(`/access-requests/${id}`);
    await expect(page.getByText("worked out in this browser")).toBeVisible();
    scripts = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
    paints.push(
      await page.evaluate(
        () => new Promise<number>((resolve) => new PerformanceObserver((list) => resolve(list.getEntries().at(-1)?.startTime ?? NaN)).observe({ type: "largest-contentful-paint", buffered: true })),
      ),
    );
    await page.context().close();
  }
  // From the answer to whoever asked until an approver's page shows it.
  const page = await as("bob");
  await page.goto("/approvals");
  await expect(page.getByRole("link", { name: /alice → orders-db/ })).toHaveCount(1);
  const seen: number[] = [];
  for (let run = 0; run < 5; run += 1) {
    const shown = page.evaluate(
      (count) =>
        new Promise<number>((resolve) => {
          new MutationObserver((_, observer) => {
            if (document.querySelectorAll(".list .item").length <= count) return;
            observer.disconnect();
            resolve(Date.now());
          }).observe(document.body, { childList: true, subtree: true });
        }),
      run + 1,
    );
    const body = { resource: "orders-db", what: { kind: "sql", text: `delete from orders where id = ${run}` }, reason: "to be seen", duration: "15m" };
    const alice = await as("alice");
    const answer = await alice.context().request.post("/api/v1/access-requests", { headers: { origin: gateway.url, "x-safeconduct-page": "1" }, data: body });
    const asked = Date.parse(((await answer.json()) as { asked_at: string }).asked_at);
    seen.push((await shown) - asked);
    await alice.context().close();
  }
  const sorted = (values: number[]) => values.map(Math.round).sort((a, b) => a - b).join(", ");
  console.log(`scripts on the approver's route: ${scripts} bytes sent\nlargest contentful paint, ms: ${sorted(paints)}\nfrom asked to seen in the inbox, ms: ${sorted(seen)}`);
  expect(scripts).toBeLessThan(250_000);
});
