// The console: written, foreseen, asked for, approved, run once, looked at, carried away.
import { readFile } from "node:fs/promises";
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, settleAll, test, type Gateway } from "./gateway";

test.beforeEach(({ gateway }) => settleAll(gateway));

const write = async (page: Page, sql: string) => {
  const editor = page.getByRole("textbox", { name: "The statement" });
  await editor.click();
  await page.keyboard.press("Control+a");
  await page.keyboard.insertText(sql);
};

const approve = async (gateway: Gateway, id: string) => {
  const { digest } = await gateway.json<{ digest: string }>("bob", "show", id);
  await gateway.run("bob", "approve", id, "--yes", "--digest", digest);
};

test("a statement is foreseen as it is written, asked for by a key, and runs by itself once it is approved", async ({ gateway, as, complaints }) => {
  const alice = await as("alice");
  await alice.goto("/");
  await alice.getByRole("link", { name: "Console" }).click();
  await alice.getByLabel("Database").selectOption("orders-db");
  const before = await gateway.ledgerSize();
  await write(alice, "select id from orders where id < 3");
  await expect(alice.getByTestId("verdict")).toContainText("Allowed at once");
  await write(alice, "update products set stock = stock + 1");
  await expect(alice.getByTestId("verdict")).toContainText("Needs approval by one of dba");
  await expect(alice.getByTestId("foreseen")).toContainText("No WHERE");
  await write(alice, "drop table (");
  await expect(alice.getByTestId("foreseen")).toContainText("Not understood");
  await expect(alice.getByRole("button", { name: "Ask for approval" })).toBeDisabled();
  // Browsers say every 400 aloud.
  expect(complaints.splice(0).filter((complaint) => !complaint.includes("400"))).toEqual([]);
  // Writing asked nobody and ran nothing.
  expect(await gateway.ledgerSize()).toBe(before);

  await write(alice, "update products set stock = stock - 1 where id = 43 returning id, '' as empty, null as nothing, 'a \"b\",c' as odd");
  await expect(alice.getByTestId("verdict")).toContainText("Needs approval");
  await alice.getByLabel("Why").fill("one more was broken");
  await alice.getByRole("textbox", { name: "The statement" }).press("Control+Enter");
  const asked = alice.getByTestId("asked");
  await expect(asked).toContainText("Waits for one of dba");
  await expect(asked).toContainText("bob, dora may");
  const id = /rq-[0-9a-z]{12}/.exec(alice.url())?.[0] as string;
  await approve(gateway, id);
  await expect(asked.getByRole("cell", { name: "43", exact: true })).toBeVisible();
  await expect(asked.getByRole("cell", { name: "NULL" })).toBeVisible();
  await expect(asked.getByTestId("end")).toHaveText("executed");
  expect(await gateway.state(id)).toBe("settled");

  const download = alice.waitForEvent("download");
  await asked.getByRole("button", { name: "Download CSV" }).click();
  const file = await download;
  expect(file.suggestedFilename()).toBe(`${id}.csv`);
  expect(await readFile(await file.path(), "utf8")).toBe('"id","empty","nothing","odd"\r\n"43","",,"a ""b"",c"\r\n');

  // Back on the page it is not run again.
  await alice.reload();
  await expect(asked).toContainText("it is not kept");
  await asked.getByRole("button", { name: "Close" }).click();
  await expect(asked).toHaveCount(0);
  // One's own history completes names, and gives statements back.
  await alice.getByRole("button", { name: /use again: update products set stock = stock - 1 where id = 43/ }).click();
  await expect(alice.getByRole("textbox", { name: "The statement" })).toContainText("where id = 43");
  await write(alice, "select * from ");
  await alice.getByRole("textbox", { name: "The statement" }).press("End");
  await alice.keyboard.type("produ");
  await alice.getByRole("option", { name: "products" }).click();
  await expect(alice.getByRole("textbox", { name: "The statement" })).toHaveText("select * from products");
});

test("what is allowed runs at once, what is long is shown in parts, what fails says why", async ({ as }) => {
  const alice = await as("alice");
  await alice.goto("/console?resource=orders-db");
  await write(alice, "select id, status from orders order by id limit 1000");
  await alice.getByLabel("Why").fill("to look");
  await alice.getByRole("button", { name: "Run", exact: true }).click();
  const asked = alice.getByTestId("asked");
  await expect(asked.getByTestId("end")).toHaveText("executed");
  await expect(asked).toContainText("1,000 rows, the first 200 shown");
  await asked.getByRole("button", { name: "Show 200 more" }).click();
  await expect(asked.getByRole("row")).toHaveCount(401);
  await write(alice, "select 1/0 as boom");
  await alice.getByRole("button", { name: "Run", exact: true }).click();
  await expect(asked).toContainText("22012");
  await expect(asked.getByTestId("end")).toHaveText("failed");
  // The same again on purpose is asked again.
  const first = alice.url();
  await alice.getByRole("button", { name: "Run", exact: true }).click();
  await expect(alice).not.toHaveURL(first);
  await expect(asked.getByTestId("end")).toHaveText("failed");
});

test("a denial, a withdrawal and somebody else's access request are said, and nothing runs", async ({ gateway, as, complaints }) => {
  const alice = await as("alice");
  await alice.goto("/console?resource=orders-db");
  await write(alice, "delete from orders where id = 77");
  await alice.getByLabel("Why").fill("not good enough");
  await alice.getByRole("button", { name: "Ask for approval" }).click();
  const asked = alice.getByTestId("asked");
  await expect(asked).toContainText("Waits for");
  const first = /rq-[0-9a-z]{12}/.exec(alice.url())?.[0] as string;
  await gateway.run("dora", "deny", first, "--comment", "no");
  await expect(asked).toContainText("denied");
  await asked.getByRole("button", { name: "Edit as new" }).click();
  await alice.getByRole("button", { name: "Ask for approval" }).click();
  await expect(asked).toContainText("Waits for");
  await asked.getByRole("button", { name: "Withdraw" }).click();
  await expect(asked).toContainText("withdrawn");
  const second = /rq-[0-9a-z]{12}/.exec(alice.url())?.[0] as string;
  expect([await gateway.state(first), await gateway.state(second)]).toEqual(["denied", "withdrawn"]);
  // A link to one that is ready does not run it: somebody has to say so. Nobody else can.
  const ready = await gateway.pending("by a link", "update orders set status = 'paid' where id = 78");
  await approve(gateway, ready);
  await alice.goto(`/console?request=${ready}`);
  await expect(asked.getByRole("button", { name: "Run it now, once" })).toBeVisible();
  const bob = await as("bob");
  await bob.goto(`/console?request=${ready}`);
  await expect(bob.getByText("Nothing to ask for").or(bob.getByTestId("asked"))).toBeVisible();
  await expect(bob.getByRole("button", { name: "Run it now, once" })).toHaveCount(0);
  expect(await gateway.state(ready)).toBe("ready");
  await asked.getByRole("button", { name: "Run it now, once" }).click();
  await expect(asked.getByTestId("end")).toHaveText("executed");
  complaints.push(...complaints.splice(0).filter((complaint) => !complaint.includes("404")));
});

test("f46: what would not be seen in a statement is seen in the editor", async ({ as }) => {
  const alice = await as("alice");
  await alice.goto("/console?resource=orders-db");
  await write(alice, "select '\u202eevil\u200b' as x");
  await expect(alice.locator(".cm-specialChar")).toHaveCount(2);
});

test("without a line to the gateway the console says so and keeps what was written", async ({ as, complaints }) => {
  const alice = await as("alice");
  await alice.goto("/console?resource=orders-db");
  await write(alice, "select 1");
  await alice.getByLabel("Why").fill("to look");
  await expect(alice.getByTestId("verdict")).toContainText("Allowed");
  await alice.route("**/api/v1/access-requests**", (route) => route.abort());
  await alice.route("**/api/v1/access-requests/**", (route) => route.abort());
  await alice.getByRole("button", { name: "Run", exact: true }).click();
  await expect(alice.getByRole("alert").first()).toContainText("can't be reached");
  await alice.getByRole("link", { name: "Sessions" }).click();
  await alice.getByRole("link", { name: "Console" }).click();
  await expect(alice.getByRole("textbox", { name: "The statement" })).toHaveText("select 1");
  complaints.length = 0;
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`nothing stands in anybody's way in the console (axe, ${colorScheme})`, async ({ as }) => {
    for (const viewport of [{ width: 1440, height: 900 }, { width: 768, height: 900 }, { width: 360, height: 740 }]) {
      const alice = await as("alice", { viewport, colorScheme });
      await alice.goto("/console?resource=orders-db");
      await write(alice, "select id, status, 'text' as t, null as n from orders -- comment\nwhere id < 4");
      await expect(alice.getByTestId("verdict")).toContainText("Allowed");
      await alice.getByLabel("Why").fill("to look");
      await alice.getByRole("button", { name: "Run", exact: true }).click();
      await expect(alice.getByTestId("end")).toHaveText("executed");
      expect(await alice.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
      const { violations } = await new AxeBuilder({ page: alice }).analyze();
      const grave = violations.filter((violation) => ["serious", "critical"].includes(violation.impact ?? ""));
      expect(grave.map((violation) => `${viewport.width}: ${violation.id}: ${violation.nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
    }
  });
}
