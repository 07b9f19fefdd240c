// The ledger: an auditor finds who changed what and who allowed it, and the page proves it.
import { readFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import type { Gateway } from "./gateway";
import { expect, settleAll, test } from "./gateway";

/** alice changes an order, dora allows it, and it ran. */
async function changed(gateway: Gateway, order: number): Promise<string> {
  const run = gateway.talk("alice", "run", "orders-db", "--reason", `order ${order} <b>came back</b>`, "--", `update orders set status = 'returned' where id = ${order}`);
  const id = /rq-[0-9a-z]{12}/.exec(await run.says(/rq-[0-9a-z]{12}/))?.[0] as string;
  const { digest } = await gateway.json<{ digest: string }>("dora", "show", id);
  await gateway.run("dora", "approve", id, "--yes", "--digest", digest, "--comment", "parcel seen");
  await run.says(/UPDATE 1/);
  return id;
}

test("an auditor finds who changed orders and who allowed it, and the page proves it", async ({ gateway, as }) => {
  const id = await changed(gateway, 4711);
  const carol = await as("carol");
  await carol.goto("/");
  await carol.getByRole("link", { name: "Ledger" }).click();
  const tree = carol.getByTestId("tree");
  await expect(tree).toContainText("under the newest checkpoint");
  await expect(tree).toContainText("first time");

  await carol.getByLabel("On what").fill("orders-db");
  await carol.getByLabel("With the words").fill("SET STATUS = 'returned' WHERE id = 4711");
  await carol.getByRole("button", { name: "Search" }).click();
  await expect(carol).toHaveURL(/resource=orders-db/);
  const entries = carol.getByRole("list", { name: "entries" });
  await expect(entries.getByRole("listitem").first()).toContainText("alice");
  // The newest is ours: others may have asked for the same.
  await expect(entries.getByRole("link", { name: /access request submitted.*update orders set status = 'returned' where id = 4711/ }).first()).toBeVisible();
  await entries.getByRole("link", { name: /access request submitted/ }).first().click();
  const opened = carol.getByTestId("opened");
  await expect(opened.locator("[data-proof=proved]")).toBeVisible();
  await expect(opened.getByRole("region", { name: "body" })).toContainText("order 4711 <b>came back</b>");
  await expect(opened.getByRole("link", { name: id })).toBeVisible();
  // What is looked at has an address that leads to the same again.
  const link = carol.url();
  expect(link).toMatch(/entry=\d+/);

  await carol.getByRole("link", { name: "Clear" }).click();
  await carol.getByLabel("Who").fill("dora");
  await carol.getByLabel("What happened").selectOption("approval_given");
  await carol.getByRole("button", { name: "Search" }).click();
  const allowed = entries.getByRole("link", { name: /dora → orders-db.*approved: parcel seen/ }).first();
  await allowed.click();
  await expect(opened.locator("[data-proof=proved]")).toBeVisible();
  await opened.locator("[data-proof=proved]").click();
  await expect(carol.getByRole("dialog")).toContainText("Worked out in this browser");
  await carol.keyboard.press("Escape");
  await opened.getByRole("link", { name: id }).click();
  await expect(carol.getByText("approved by dora")).toBeVisible();

  await carol.goto(link);
  await expect(opened.locator("[data-proof=proved]")).toBeVisible();
  await expect(carol.getByLabel("On what")).toHaveValue("orders-db");
  await expect(tree).toContainText(/holds, unchanged, the \d+ entries this browser saw last/);
});

test("what is filtered is saved as JSON Lines and as CSV", async ({ gateway, as }) => {
  const id = await changed(gateway, 4712);
  const carol = await as("carol");
  await carol.goto("/ledger?person=dora&kind=approval_given");
  const saved = async (name: string) => {
    const [download] = await Promise.all([carol.waitForEvent("download"), carol.getByRole("button", { name }).click()]);
    await expect(carol.getByText(/Saved: \d+ entr(y|ies), all that fit\./)).toBeVisible();
    return readFileSync(await download.path(), "utf8");
  };
  const lines = (await saved("Save as JSON Lines")).trimEnd().split("\n").map((line) => JSON.parse(line) as { stream: string; who: string; kind: string });
  expect(lines[0]).toMatchObject({ stream: id, who: "dora", kind: "approval_given" });
  const csv = (await saved("Save as CSV")).trimEnd().split("\r\n");
  expect(csv).toHaveLength(lines.length + 1);
  expect(csv[0]).toBe('"index","at","kind","stream","version","who","about","resource","summary","event"');
  expect(csv[1]).toContain(`"approval_given","${id}"`);
});

test("what is missing, wrong or out of reach is said", async ({ as, complaints }) => {
  const carol = await as("carol");
  await carol.goto("/ledger?text=nobody-ever-wrote-this");
  await expect(carol.getByText("Nothing fits")).toBeVisible();
  await carol.goto("/ledger?entry=999999999");
  await expect(carol.getByText("has no entry 999999999 yet")).toBeVisible();
  await carol.goto("/ledger?person=%3Cimg%3E");
  await expect(carol.getByRole("alert")).toContainText("person");
  await carol.goto("/ledger");
  await expect(carol.getByRole("list", { name: "entries" })).toBeVisible();
  await carol.context().setOffline(true);
  await carol.getByLabel("Who").fill("bob");
  await carol.getByRole("button", { name: "Search" }).click();
  await expect(carol.getByRole("alert")).toContainText("can't be reached");
  await carol.context().setOffline(false);
  await carol.getByRole("alert").getByRole("button", { name: "Try again" }).click();
  await expect(carol.getByRole("list", { name: "entries" })).toContainText("bob");
  // Browsers say every 400 and every lost line aloud.
  expect(complaints.splice(0).filter((complaint) => !/400|ERR_INTERNET_DISCONNECTED/.test(complaint))).toEqual([]);
});

test("who does not audit sees no ledger", async ({ as, complaints }) => {
  const alice = await as("alice");
  await alice.goto("/ledger");
  await expect(alice.getByRole("alert")).toContainText("VIEW-001");
  await expect(alice.getByRole("link", { name: "Ledger" })).toHaveCount(0);
  await expect(alice.getByTestId("tree")).toHaveCount(0);
  await expect(alice.getByRole("list", { name: "entries" })).toHaveCount(0);
  // Browsers say every 403 aloud.
  expect(complaints.splice(0).filter((complaint) => !complaint.includes("403"))).toEqual([]);
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`nothing stands in anybody's way in the ledger (axe, ${colorScheme})`, async ({ gateway, as }) => {
    await settleAll(gateway);
    for (const viewport of [{ width: 1440, height: 900 }, { width: 768, height: 900 }, { width: 360, height: 740 }]) {
      const carol = await as("carol", { viewport, colorScheme });
      await carol.goto("/ledger");
      const entries = carol.getByRole("list", { name: "entries" });
      await entries.getByRole("link").first().click();
      await expect(carol.getByTestId("opened").locator("[data-proof=proved]")).toBeVisible();
      await expect(carol.getByTestId("tree")).toBeVisible();
      expect(await carol.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
      const { violations } = await new AxeBuilder({ page: carol }).analyze();
      const grave = violations.filter((violation) => ["serious", "critical"].includes(violation.impact ?? ""));
      expect(grave.map((violation) => `${viewport.width}: ${violation.id}: ${violation.nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
    }
  });
}
