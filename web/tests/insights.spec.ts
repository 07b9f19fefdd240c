// Insights: pictures that lead to the rows they count, for those who audit.
import AxeBuilder from "@axe-core/playwright";
import { expect, settleAll, test } from "./gateway";

test("pictures count what was asked, lead to the rows behind them, and say the same as tables", async ({ gateway, as }) => {
  await settleAll(gateway);
  const denied = await gateway.pending("to be counted", "delete from orders where id = 5");
  await gateway.run("dora", "deny", denied, "--comment", "no");
  await gateway.run("alice", "request", "orders-db", "-o", "read", "--for", "15m", "--reason", "to be counted");
  const carol = await as("carol");
  await carol.goto("/");
  await carol.getByRole("link", { name: "Insights" }).click();
  const byDay = carol.getByRole("figure", { name: /by day/ });
  await expect(byDay.getByRole("link", { name: /denied by a person/ }).first()).toBeVisible();
  await byDay.getByText("As a table").click();
  await expect(byDay.getByRole("columnheader", { name: "denied by a person" })).toBeVisible();
  await expect(carol.getByRole("figure", { name: "Time until people decided" })).toContainText("dba");
  await expect(carol.getByRole("figure", { name: "Standing privilege" })).toContainText("0");
  await carol.getByRole("figure", { name: "Refused or denied most" }).getByRole("link").first().click();
  const behind = carol.getByTestId("behind");
  await expect(behind.getByRole("link", { name: denied })).toBeVisible();
  await expect(behind).toBeFocused();
  await behind.getByRole("link", { name: denied }).click();
  await expect(carol).toHaveURL(new RegExp(denied));
  await carol.goBack();
  await carol.getByRole("figure", { name: /taken up/ }).getByRole("link", { name: /orders-db/ }).click();
  await expect(behind).toContainText("never taken up");
});

test("who does not audit is told so, and nothing else", async ({ as, complaints }) => {
  const alice = await as("alice");
  await alice.goto("/insights");
  await expect(alice.getByRole("alert")).toContainText("VIEW-001");
  await expect(alice.getByRole("link", { name: "Insights" })).toHaveCount(0);
  // Browsers say every 403 aloud.
  expect(complaints.splice(0).filter((complaint) => !complaint.includes("403"))).toEqual([]);
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`nothing stands in anybody's way in insights (axe, ${colorScheme})`, async ({ gateway, as }) => {
    await settleAll(gateway);
    await gateway.run("dora", "deny", await gateway.pending("to be looked at", `delete from orders where id = ${colorScheme.length}`), "--comment", "no");
    for (const viewport of [{ width: 1440, height: 900 }, { width: 768, height: 900 }, { width: 360, height: 740 }]) {
      const carol = await as("carol", { viewport, colorScheme });
      await carol.goto("/insights?came=denied");
      await expect(carol.getByTestId("behind").getByRole("table")).toBeVisible();
      await expect(carol.getByRole("figure", { name: /by day/ })).toBeVisible();
      expect(await carol.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
      const { violations } = await new AxeBuilder({ page: carol }).analyze();
      const grave = violations.filter((violation) => ["serious", "critical"].includes(violation.impact ?? ""));
      expect(grave.map((violation) => `${viewport.width}: ${violation.id}: ${violation.nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
    }
  });
}
