// The other pages, and what holds on all of them.
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, settleAll, test } from "./gateway";

test.beforeEach(({ gateway }) => settleAll(gateway));

test("signing in and out", async ({ browser, gateway }) => {
  const context = await browser.newContext({ baseURL: gateway.url });
  const page = await context.newPage();
  await page.goto("/sessions");
  await expect(page).toHaveURL(/\/sign-in\?to=%2Fsessions$/);
  await page.getByLabel("Name").fill("carol");
  await page.getByLabel("Password").fill(gateway.password("carol"));
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/sessions$/);
  await page.getByLabel("account of carol").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page).toHaveURL(/\/sign-in$/);
  expect(await context.cookies()).toEqual([]);
  await page.goto("/approvals");
  await expect(page).toHaveURL(/\/sign-in/);
  // A link to elsewhere leads home.
  for (const to of ["https://evil.example/", "//evil.example/", "/\\evil.example"]) {
    await page.goto(`/sign-in?to=${encodeURIComponent(to)}`);
    await page.getByLabel("Name").fill("carol");
    await page.getByLabel("Password").fill(gateway.password("carol"));
    await page.keyboard.press("Enter");
    await expect(page.getByRole("heading", { name: "What you may do now" })).toBeVisible();
    expect(new URL(page.url()).origin).toBe(gateway.url);
    await context.clearCookies();
  }
  await context.close();
});

test("asking says before what policy will do; a grant is used and given back", async ({ gateway, as }) => {
  const page = await as("alice");
  await page.goto("/");
  await page.getByLabel("search resources").fill("orders");
  await page.getByRole("link", { name: "ask for orders-db" }).click();
  const before = await gateway.ledgerSize();
  const foreseen = page.getByTestId("verdict");
  await expect(foreseen).toContainText("Allowed at once");
  await page.getByRole("checkbox", { name: "write" }).check();
  await expect(foreseen).toContainText("Needs approval by one of dba");
  await expect(foreseen).toContainText("bob, dora");
  await page.getByLabel("For how long").selectOption("8h");
  await expect(foreseen).toContainText("Refused");
  await expect(page.getByRole("button", { name: /^Ask/ })).toBeDisabled();
  await page.getByLabel("For how long").selectOption("30m");
  await page.getByRole("button", { name: "One statement" }).click();
  await page.getByLabel("The statement").fill("update orders set status = 'sent'");
  await expect(page.getByTestId("foreseen")).toContainText("UPDATE orders");
  // Looking asked nobody.
  expect(await gateway.ledgerSize()).toBe(before);

  await page.getByRole("button", { name: "For a while" }).click();
  await page.getByRole("checkbox", { name: "write" }).uncheck();
  await page.getByLabel("Why").fill("look into order 4711");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await expect(page).toHaveURL(/\/access-requests\/rq-/);
  await expect(page.getByText("active", { exact: true }).first()).toBeVisible();

  await page.getByRole("link", { name: "Home", exact: true }).click();
  const grant = page.getByRole("article", { name: "grant on orders-db" }).first();
  await expect(grant).toContainText(/29 min|30 min/);
  await grant.getByRole("button", { name: "Connect…" }).click();
  await expect(page.getByRole("dialog")).toContainText("safeconduct connect orders-db");
  await page.getByRole("button", { name: "Make a password for it" }).click();
  await expect(page.getByRole("dialog")).toContainText("verify-full");
  await page.keyboard.press("Escape");
  await grant.getByRole("button", { name: "Give back" }).click();
  await expect(page.getByText("Given back").first()).toBeVisible();
});

test("one statement is asked for, approved and run, all in browsers", async ({ as }) => {
  const alice = await as("alice");
  await alice.goto("/resources/orders-db");
  await alice.getByRole("button", { name: "One statement" }).click();
  await alice.getByLabel("The statement").fill("update products set stock = stock - 1 where id = 42 returning id, 'NULL' as word, null as nothing");
  await alice.getByLabel("Why").fill("one was broken");
  await alice.getByRole("button", { name: "Ask for approval" }).click();
  await expect(alice).toHaveURL(/\/access-requests\/rq-/);
  const bob = await as("bob");
  await bob.goto(new URL(alice.url()).pathname);
  await bob.getByRole("button", { name: "Approve…" }).click();
  await bob.getByRole("dialog").getByRole("button", { name: "Approve", exact: true }).click();
  await expect(bob.getByText("ready to run")).toBeVisible();
  await alice.getByRole("button", { name: "Run it now, once" }).click();
  await expect(alice.getByRole("cell", { name: "42", exact: true })).toBeVisible();
  await expect(alice.getByText("executed")).toBeVisible();
  await expect(alice.getByText(/UPDATE 1.*committed/)).toBeVisible();
  await expect(alice.getByRole("button", { name: "Run it now, once" })).toHaveCount(0);
});

test("f53: every event is proved in the browser, and a changed one is not", async ({ gateway, as }) => {
  const id = await gateway.pending("to be proved");
  await gateway.run("bob", "deny", id, "--comment", "no");
  for (const who of ["alice", "bob", "carol"] as const) {
    const page = await as(who);
    await page.goto(`/access-requests/${id}`);
    await expect(page.locator(".timeline [data-proof=proved]")).toHaveCount(2);
  }
  const page = await as("carol");
  await page.route(`**/api/v1/access-requests/${id}`, async (route) => {
    const answer = await route.fetch();
    const text = (await answer.text()).replaceAll('"comment":"no"', '"comment":"yes"');
    await route.fulfill({ response: answer, body: text });
  });
  await page.goto(`/access-requests/${id}`);
  await expect(page.locator(".timeline [data-proof='not proved']")).toHaveCount(1);
  await page.locator(".timeline [data-proof='not proved']").click();
  await expect(page.getByRole("dialog")).toContainText("not what the entry commits to");
});

test("f53: a ledger that was rewritten since this browser saw it is found out", async ({ gateway, as }) => {
  const id = await gateway.pending("seen twice");
  const page = await as("carol");
  await page.goto(`/access-requests/${id}`);
  await expect(page.locator(".timeline [data-proof=proved]")).toHaveCount(1);
  // It grew meanwhile: the proof that it only grew is worked out from the tiles.
  await gateway.run("bob", "deny", id, "--comment", "no");
  await page.reload();
  await expect(page.locator(".timeline [data-proof=proved]")).toHaveCount(2);
  // What this browser saw is no part of the ledger that it is shown.
  await page.evaluate(() => {
    const seen = JSON.parse(localStorage.getItem("safeconduct-ledger") ?? "{}") as { size: number };
    localStorage.setItem("safeconduct-ledger", JSON.stringify({ ...seen, size: seen.size - 1, root: "00".repeat(32) }));
  });
  await page.reload();
  await expect(page.locator(".timeline [data-proof='not proved']")).toHaveCount(2);
  await page.locator(".timeline [data-proof='not proved']").first().click();
  await expect(page.getByRole("dialog")).toContainText("does not hold what this browser saw");
});

test("a session is watched, ended and replayed", async ({ gateway, as }) => {
  const psql = await gateway.psql("to be watched");
  psql.say("select count(*) from orders;");
  await psql.says(/40000/);
  psql.say("select 1/0;");
  await psql.says(/division by zero/);
  const page = await as("carol");
  await page.goto("/sessions");
  await page.getByRole("link", { name: /alice → orders-db/ }).first().click();
  await expect(page.getByText("select count(*) from orders;")).toBeVisible();
  await page.getByRole("button", { name: "errors" }).click();
  await expect(page.getByText("22012")).toBeVisible();
  await expect(page.getByText("select count(*) from orders;")).toHaveCount(0);
  // An auditor looks; whose session it is may end it.
  const alice = await as("alice");
  await alice.goto(new URL(page.url()).pathname);
  await alice.getByRole("button", { name: "End it…" }).click();
  await alice.getByLabel("Why").fill("done");
  await alice.getByRole("dialog").getByRole("button", { name: "End it" }).click();
  await expect(page.getByText("closed", { exact: true }).first()).toBeVisible();
  await page.getByRole("button", { name: "all" }).click();
  await expect(page.getByText(/sealed part.? ha/)).toBeVisible();
  psql.say("select 1;");
  await psql.says(/was ended by alice/);
  psql.kill();
});

test("who may not know sees nothing, and nothing else", async ({ gateway, as, complaints }) => {
  const id = await gateway.pending("not for everybody");
  const page = await as("ann");
  await page.goto("/sessions/se-000000000000");
  await expect(page.getByText("Nothing to see here")).toBeVisible();
  await page.goto("/access-requests/rq-000000000000");
  await expect(page.getByText("Nothing to see here")).toBeVisible();
  await page.goto("/resources/no-such-db");
  await expect(page.getByText("Nothing to ask for")).toBeVisible();
  await page.goto("/approvals/none");
  await expect(page.getByText("There is no such page")).toBeVisible();
  expect(await gateway.state(id)).toBe("pending");
  // Browsers say every 404 aloud.
  expect(complaints.filter((complaint) => !complaint.includes("404"))).toEqual([]);
  complaints.length = 0;
});

test("without a line to the gateway the page says so, decides nothing, and comes back by itself", async ({ gateway, as, complaints }) => {
  const id = await gateway.pending("the line goes down");
  const page = await as("bob");
  await page.route("**/api/v1/events", (route) => route.abort());
  await page.goto(`/access-requests/${id}`);
  await expect(page.getByText("No line to the gateway since")).toBeVisible();
  await expect(page.getByRole("button", { name: "Approve…" })).toBeDisabled();
  await expect(page.getByRole("button", { name: "Deny…" })).toBeDisabled();
  await page.unroute("**/api/v1/events");
  await expect(page.getByRole("button", { name: "Approve…" })).toBeEnabled();
  await expect(page.getByText("No line to the gateway since")).toHaveCount(0);
  // A page that was never opened before can't be loaded without one, and says so.
  await page.route("**/assets/Sessions-*", (route) => route.abort());
  await page.getByRole("link", { name: "Sessions" }).click();
  await expect(page.getByText("This page could not be loaded")).toBeVisible();
  await page.unroute("**/assets/Sessions-*");
  // By a click, or by itself as soon as something else is read again: whichever is first.
  await page.getByRole("button", { name: "Load again" }).click({ timeout: 2_000 }).catch(() => undefined);
  await expect(page.getByRole("heading", { name: "Sessions" })).toBeVisible();
  expect(complaints.filter((complaint) => !/ERR_FAILED|imported module/.test(complaint))).toEqual([]);
  complaints.length = 0;
});

for (const theme of ["light", "dark"] as const) {
  test(`nothing stands in anybody's way on any page (axe, ${theme})`, async ({ gateway, as, browser }) => {
    test.slow();
    const id = await gateway.pending("seen by everybody", "update orders set status = 'sent' where id = 1 and status = 'new' or id in (select 2)");
    const look = async (page: Page, where: string) => {
      const { violations } = await new AxeBuilder({ page }).analyze();
      const grave = violations.filter((violation) => ["serious", "critical"].includes(violation.impact ?? ""));
      expect(grave.map((violation) => `${where}: ${violation.id}: ${violation.nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
    };
    for (const viewport of [{ width: 1440, height: 900 }, { width: 360, height: 740 }]) {
      const context = await browser.newContext({ baseURL: gateway.url, colorScheme: theme, viewport });
      const gate = await context.newPage();
      await gate.goto("/sign-in");
      await expect(gate.getByRole("button", { name: "Sign in", exact: true })).toBeVisible();
      await look(gate, "sign-in");
      await context.close();
      const page = await as("bob", { colorScheme: theme, viewport });
      for (const [path, ready] of [
        ["/", "What you asked for"],
        ["/approvals", "Approvals"],
        [`/access-requests/${id}`, "What happened"],
        ["/resources/orders-db", "Why it will do that"],
        ["/sessions", "Sessions"],
      ] as const) {
        await page.goto(path);
        await expect(page.getByRole("heading", { name: ready }).first()).toBeVisible();
        await expect(page.getByRole("status", { name: "loading" })).toHaveCount(0);
        await look(page, `${path} at ${viewport.width}`);
      }
      await page.goto(`/access-requests/${id}`);
      await page.getByRole("button", { name: "Deny…" }).click();
      await look(page, "deny");
      const carol = await as("carol", { colorScheme: theme, viewport });
      await carol.goto("/sessions");
      await carol.getByRole("button", { name: "Recorded" }).click();
      const link = carol.getByRole("link", { name: /alice → orders-db/ }).first();
      if ((await link.count()) > 0) {
        await link.click();
        await expect(carol.getByRole("article")).toBeVisible();
        await look(carol, "session");
      }
    }
  });
}
