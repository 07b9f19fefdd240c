// What a browser makes of a gateway with a long past: 10,000 access requests and 1,000,000 entries. Prints figures for docs/performance.md;
// `scripts/screens.sh scale` furnishes the gateway and runs it.
import { expect, test, type Page } from "@playwright/test";

const at = process.env.SAFECONDUCT_AT ?? "";
const password = process.env.SAFECONDUCT_PASSWORD ?? "";

test("a long past", async ({ browser }) => {
  const as = async (name: string) => {
    const context = await browser.newContext({ baseURL: at });
    const answer = await context.request.post("/api/v1/browser/sign-in", { headers: { origin: at, "x-safeconduct-page": "1" }, data: { name, password } });
    expect(answer.status()).toBe(200);
    return context.newPage();
  };
  const until = async (act: () => Promise<unknown>, shown: () => Promise<unknown>) => {
    const began = performance.now();
    await act();
    await shown();
    return Math.round(performance.now() - began);
  };
  /** Scrolls to the end; the longest frame and the longest task on the way, in ms. */
  const scroll = (page: Page) =>
    page.evaluate(async () => {
      const tasks: number[] = [0];
      const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)));
      observer.observe({ type: "longtask" });
      const frame = () => new Promise<number>(requestAnimationFrame);
      let [before, longest] = [await frame(), 0];
      while (window.scrollY + window.innerHeight < document.documentElement.scrollHeight - 1) {
        window.scrollBy(0, 400);
        const now = await frame();
        longest = Math.max(longest, now - before);
        before = now;
      }
      observer.disconnect();
      return `longest frame ${Math.round(longest)} ms, longest task ${Math.round(Math.max(...tasks))} ms, ${document.querySelectorAll("*").length} elements`;
    });

  const p1 = await as("p1");
  const asked = p1.locator("section", { hasText: "What you asked for" }).getByRole("listitem");
  console.log(`home, the newest 50 of 500 shown after ${await until(() => p1.goto("/"), () => expect(asked).toHaveCount(50))} ms`);
  for (let shown = 100; shown <= 500; shown += 50) {
    const took = await until(() => p1.getByRole("button", { name: "Older ones" }).click(), () => expect(asked).toHaveCount(shown));
    if (shown % 200 === 100) console.log(`  ${shown} shown, the last 50 after ${took} ms`);
  }
  console.log(`  all 500 scrolled: ${await scroll(p1)}`);

  const carol = await as("carol");
  const entries = carol.getByRole("list", { name: "entries" }).getByRole("listitem");
  console.log(`ledger of 1,000,000, the newest shown after ${await until(() => carol.goto("/ledger"), () => expect(entries.first()).toBeVisible())} ms`);
  for (let page = 1; page <= 10; page += 1) {
    const before = await entries.count();
    const took = await until(() => carol.getByRole("button", { name: /Older|Look further back/ }).click(), () => expect.poll(() => entries.count()).toBeGreaterThan(before));
    if (page % 5 === 0) console.log(`  ${await entries.count()} shown, the last part after ${took} ms`);
  }
  console.log(`  scrolled: ${await scroll(carol)}`);
  console.log(`one person's entries shown after ${await until(() => carol.goto("/ledger?person=p7"), () => expect(entries.first()).toBeVisible())} ms`);
  console.log(`insights shown after ${await until(() => carol.goto("/insights"), () => expect(carol.getByRole("figure").first()).toBeVisible())} ms`);
});
