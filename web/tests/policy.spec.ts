// Policy in a browser: why it answers as it does, the bundle, its cases, its versions.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "./gateway";

test("policy explains: who decides, what forbids, and what would have to be true, with the place in the text", async ({ gateway, as }) => {
  const carol = await as("carol");
  await carol.goto("/policy");
  const before = await gateway.ledgerSize();
  const answer = carol.getByTestId("explained");
  await carol.getByLabel("Who").fill("alice");
  await carol.getByLabel("On what").selectOption("orders-db");
  await expect(answer).toContainText("Allowed.");
  await expect(answer).toContainText("engineers-read-orders");
  await carol.getByRole("checkbox", { name: "write" }).check();
  await expect(answer).toContainText("Needs approval.");
  await expect(answer).toContainText("one of dba");
  await carol.getByRole("checkbox", { name: "read" }).uncheck();
  await carol.getByRole("checkbox", { name: "write" }).uncheck();
  await carol.getByRole("checkbox", { name: "ddl" }).check();
  await expect(answer).toContainText("Refused.");
  await expect(answer).toContainText("engineers-alter-orders");
  await expect(answer).toContainText("context.exact");
  expect(await gateway.ledgerSize()).toBe(before);
  await answer.getByRole("link", { name: /engineers-alter-orders/ }).first().click();
  await expect(carol).toHaveURL(/show=text/);
  await expect(carol.locator(".cm-pointed")).toBeVisible();
  await expect(carol.getByLabel("policies/orders.cedar")).toContainText("engineers-alter-orders");
});

test("the bundle, its cases and its versions are there to be read, and an applied one is proved", async ({ as }) => {
  const carol = await as("carol");
  await carol.goto("/policy");
  await carol.getByRole("link", { name: "text", exact: true }).click();
  await carol.getByRole("link", { name: "policies/billing.cedar" }).click();
  await expect(carol.getByLabel("policies/billing.cedar", { exact: true })).toContainText("permit");
  await carol.getByRole("link", { name: "cases", exact: true }).click();
  await expect(carol.getByText(/all \d+ come out as they should/)).toBeVisible();
  await carol.getByLabel("resource").selectOption("orders-db");
  await expect(carol.getByRole("row", { name: /an engineer's write takes a DBA/ })).toContainText("need approval: one of dba");
  await carol.getByRole("link", { name: "versions", exact: true }).click();
  await expect(carol.getByText("in force")).toBeVisible();
  await expect(carol.locator("[data-proof=proved]").first()).toBeVisible();
});

test("what a version changed is shown file by file", async ({ gateway, as }) => {
  await gateway.changePolicy((path, text) => (path === "policies/orders.cedar" ? `// Seen by the owners.\n${text}` : text));
  const carol = await as("carol");
  await carol.goto("/policy?show=versions");
  await carol.getByRole("link", { name: "What it changed" }).first().click();
  const file = carol.getByRole("region", { name: "policies/orders.cedar" });
  await expect(file.locator(".cm-changedLine").first()).toContainText("Seen by the owners.");
  await expect(carol.getByRole("region", { name: /\.(cedar|toml)$/ })).toHaveCount(1);
  const { violations } = await new AxeBuilder({ page: carol }).analyze();
  expect(violations.filter((violation) => ["serious", "critical"].includes(violation.impact ?? "")).map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
});

test("who may not read the bundle may ask why about themselves, and nothing else", async ({ as }) => {
  const alice = await as("alice");
  await alice.goto("/policy?show=text");
  await alice.getByLabel("On what").selectOption("orders-db");
  await expect(alice.getByTestId("explained")).toContainText("Allowed.");
  await expect(alice.getByLabel("Who")).toBeDisabled();
  await expect(alice.getByRole("link", { name: "cases" })).toHaveCount(0);
  await expect(alice.getByTestId("explained").getByRole("link")).toHaveCount(0);
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`nothing stands in anybody's way where policy is read (axe, ${colorScheme})`, async ({ as }) => {
    // Twelve views, each looked at whole.
    test.slow();
    for (const viewport of [{ width: 1440, height: 900 }, { width: 768, height: 900 }, { width: 360, height: 740 }]) {
      const carol = await as("carol", { viewport, colorScheme });
      for (const [show, ready] of [["explain", "The answer"], ["text", "In force"], ["cases", "come out as they should"], ["versions", "in force"]] as const) {
        await carol.goto(`/policy?show=${show}`);
        await expect(carol.getByText(ready).first()).toBeVisible();
        await expect(carol.getByRole("status", { name: "loading" })).toHaveCount(0);
        expect(await carol.evaluate(() => document.documentElement.scrollWidth), show).toBeLessThanOrEqual(viewport.width);
        const { violations } = await new AxeBuilder({ page: carol }).analyze();
        const grave = violations.filter((violation) => ["serious", "critical"].includes(violation.impact ?? ""));
        expect(grave.map((violation) => `${show} ${viewport.width}: ${violation.id}: ${violation.nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
      }
    }
  });
}
