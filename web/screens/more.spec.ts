// Pictures of the console, policy, insights and ledger at each width, as those of the other pages.
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { expect, test, withStrangersPasskey } from "../tests/gateway";

const folder = join(import.meta.dirname, "../../docs/screens");

test("console, policy and insights", async ({ gateway, as }) => {
  const shot = async (page: Page, name: string) => {
    await expect(page.getByRole("status", { name: "loading" })).toHaveCount(0);
    await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
  };
  const write = async (page: Page, sql: string) => {
    await page.getByRole("textbox", { name: "The statement" }).click();
    await page.keyboard.press("Control+a");
    await page.keyboard.insertText(sql);
  };
  await gateway.pending("ticket 812: stock was counted again", "update products set stock = stock - 1 where id = 42 returning id, stock");
  const denied = await gateway.pending("ticket 815: clear the test orders", "delete from orders");
  await gateway.run("dora", "deny", denied, "--comment", "not all of them");
  for (const width of [1440, 768, 360] as const) {
    for (const colorScheme of width === 768 ? (["light"] as const) : (["light", "dark"] as const)) {
      const options = { viewport: { width, height: width === 360 ? 740 : 900 }, colorScheme };
      const name = (page: string) => `${page}-${width}${colorScheme === "dark" ? "-dark" : ""}`;
      const alice = await as("alice", options);
      await alice.goto("/console?resource=orders-db");
      await write(alice, `update orders\nset status = 'returned' -- the parcel came back\nwhere id = 4711 and status = 'sent'\nreturning id, status;`);
      await alice.getByLabel("Why").fill("order 4711 came back");
      await expect(alice.getByTestId("verdict")).toContainText("Needs approval");
      await shot(alice, name("console"));
      await write(alice, "select id, status, customer_id from orders where id between 100 and 120 order by id");
      await expect(alice.getByTestId("verdict")).toContainText("Allowed");
      await alice.getByRole("button", { name: "Run", exact: true }).click();
      await expect(alice.getByTestId("end")).toBeVisible();
      await alice.getByTestId("asked").scrollIntoViewIfNeeded();
      await shot(alice, name("console-result"));
      if (width === 360) {
        await alice.getByLabel("more pages").click();
        await shot(alice, name("more"));
      }
      const carol = await as("carol", options);
      await carol.goto("/policy");
      await carol.getByLabel("Who").fill("alice");
      await carol.getByLabel("On what").selectOption("orders-db");
      await carol.getByRole("checkbox", { name: "ddl" }).check();
      await expect(carol.getByTestId("explained")).toContainText("engineers-alter-orders");
      await shot(carol, name("policy"));
      for (const [show, ready] of [["text", "In force"], ["cases", "come out as they should"], ["versions", "in force"]] as const) {
        await carol.goto(`/policy?show=${show}`);
        await expect(carol.getByText(ready).first()).toBeVisible();
        if (show === "versions") await expect(carol.locator("[data-proof=proved]").first()).toBeVisible();
        await shot(carol, name(`policy-${show}`));
      }
      await carol.goto("/insights?days=7");
      await expect(carol.getByRole("figure", { name: /by day/ }).getByRole("link").first()).toBeVisible();
      await shot(carol, name("insights"));
      await alice.context().close();
      await carol.context().close();
    }
  }
});

test("the ledger", async ({ gateway, as }) => {
  const denied = await gateway.pending("ticket 815: clear the test orders", "delete from orders where id < 100");
  await gateway.run("dora", "deny", denied, "--comment", "not all of them");
  await gateway.run("alice", "request", "orders-db", "-o", "read", "--for", "15m", "--reason", "look into order 4711");
  for (const width of [1440, 768, 360] as const) {
    for (const colorScheme of width === 768 ? (["light"] as const) : (["light", "dark"] as const)) {
      const carol = await as("carol", { viewport: { width, height: width === 360 ? 1320 : 900 }, colorScheme });
      await carol.goto("/ledger?resource=orders-db");
      const entries = carol.getByRole("list", { name: "entries" });
      if (width !== 360) {
        await entries.getByRole("link", { name: /denied: not all/ }).first().click();
        await expect(carol.locator("[data-proof=proved]")).toBeVisible();
      }
      await expect(entries.getByRole("link").first()).toBeVisible();
      await expect(carol.getByTestId("tree")).toBeVisible();
      await carol.screenshot({ path: join(folder, `ledger-${width}${colorScheme === "dark" ? "-dark" : ""}.png`), animations: "disabled" });
      await carol.context().close();
    }
  }
});

test("account and people", async ({ gateway, as }) => {
  const shot = async (page: Page, name: string) => {
    await expect(page.getByRole("status", { name: "loading" })).toHaveCount(0);
    await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
  };
  await gateway.run("ann", "group", "add", "dba", "alice", "--reason", "joins the DBAs");
  const psql = await gateway.psql("look into order 4711");
  for (const statement of ["select count(*) from orders;", "select 1/0;", "select id, status from orders where id = 4711;"]) psql.say(statement);
  await psql.says(/4711/);
  const [session] = await gateway.json<{ id: string; grants: string[] }[]>("alice", "sessions", "--live");
  await gateway.run("ann", "revoke", session?.grants[0] ?? "", "--reason", "seen enough");
  psql.kill();
  for (const width of [1440, 768, 360] as const) {
    const ann = await as("ann", { viewport: { width, height: width === 360 ? 740 : 900 } });
    await ann.goto("/account");
    await expect(ann.getByText("this browser").first()).toBeVisible();
    await shot(ann, `account-${width}`);
    await ann.goto("/people");
    await expect(ann.getByRole("listitem", { name: "alice" })).toBeVisible();
    await shot(ann, `people-${width}`);
    await ann.goto("/people?show=groups");
    await expect(ann.getByRole("listitem", { name: "dba" })).toBeVisible();
    await shot(ann, `groups-${width}`);
    await ann.goto("/people");
    await ann.getByRole("button", { name: "New person…" }).click();
    await shot(ann, `new-person-${width}`);
    await ann.goto(`/access-requests/${session?.grants[0]?.replace("gr-", "rq-")}`);
    const used = ann.getByRole("region", { name: "sessions" });
    await expect(used.locator("[data-proof=proved]").first()).toBeVisible();
    await used.getByText("Statements that passed with it").last().click();
    await used.scrollIntoViewIfNeeded();
    await shot(ann, `used-${width}`);
    await ann.goto(`/sessions/${session?.id}`);
    await expect(ann.getByRole("group", { name: "time" })).toBeVisible();
    await shot(ann, `played-${width}`);
    await ann.goto("/insights?days=7");
    await ann.getByRole("figure", { name: /until its session was gone/ }).scrollIntoViewIfNeeded();
    await shot(ann, `cuts-${width}`);
    await ann.goto("/terminal");
    await ann.getByLabel(/A file/).setInputFiles(join(import.meta.dirname, "../tests/terminal.cast"));
    await ann.getByRole("button", { name: "Play", exact: true }).first().click();
    await expect(ann.locator(".ap-term")).toContainText("exit");
    await shot(ann, `terminal-${width}`);
    await ann.context().close();
  }
});

test("the signing page", async ({ gateway, as }) => {
  const id = await gateway.pending("ticket 816: the planner is lost", "analyze orders");
  for (const width of [1440, 768, 360] as const) {
    const bob = await as("bob", { viewport: { width, height: width === 360 ? 740 : 900 } });
    await withStrangersPasskey(bob, "bob");
    await bob.goto(`/sign/${id}`);
    await expect(bob.getByRole("button", { name: "Approve and sign" })).toBeEnabled();
    await bob.screenshot({ path: join(folder, `sign-${width}.png`), fullPage: width === 360, animations: "disabled" });
  }
});
