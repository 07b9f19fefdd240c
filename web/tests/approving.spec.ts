// The approver's path: from the link in a terminal to the statement that runs, and the inbox.
import { expect, listen, settleAll, test } from "./gateway";

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

test.beforeEach(({ gateway }) => settleAll(gateway));

test("a held statement is approved from a phone, beginning with the link", async ({ gateway, browser, complaints }) => {
  const psql = await gateway.psql("order 4711 came back");
  psql.say("update orders set status = 'returned' where id = 4711;");
  const link = /https:\/\/\S+\/access-requests\/(rq-[0-9a-z]{12})/.exec(await psql.says(/access-requests\/rq-[0-9a-z]{12}/)) as RegExpExecArray;

  const context = await browser.newContext(PHONE);
  const page = await context.newPage();
  const began = Date.now();
  await page.goto(link[0]);
  // Signing in leads on to where the link led.
  await page.getByLabel("Name").fill("bob");
  await page.getByLabel("Password").fill("not the password");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("alert")).toContainText("SIGN-001");
  await page.getByLabel("Password").fill(gateway.password("bob"));
  // From here on nothing may go wrong; before, being nobody was answered with 401.
  listen(page, complaints);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();

  await expect(page.getByTestId("sql")).toHaveText("update orders set status = 'returned' where id = 4711;");
  await expect(page.getByTestId("words")).toHaveText("order 4711 came back");
  await expect(page.getByText("worked out in this browser from what you see")).toBeVisible();
  const approve = page.getByRole("button", { name: "Approve…" });
  // In reach of a thumb, whatever the page is scrolled to.
  const box = await approve.boundingBox();
  expect(box && box.height >= 44 && box.y > 740 / 2 && box.y + box.height <= 740).toBe(true);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  await approve.click();
  await page.getByRole("dialog").getByLabel("Comment").fill("seen the parcel");
  await page.getByRole("dialog").getByRole("button", { name: "Approve", exact: true }).click();
  await psql.says(/UPDATE 1/);
  expect(Date.now() - began).toBeLessThan(30_000);

  // The page follows what happened by itself.
  await expect(page.getByText("ran", { exact: true }).first()).toBeVisible();
  await expect(page.getByRole("list").getByText("“seen the parcel”")).toBeVisible();
  psql.kill();
  await context.close();
});

test("the inbox is live, counts in the title, and is worked by keys", async ({ gateway, as }) => {
  const page = await as("bob");
  await page.goto("/approvals");
  await expect(page.getByText("Nothing waits for you")).toBeVisible();
  await expect(page).toHaveTitle("Approvals · Safeconduct");
  const first = await gateway.pending("the first of two");
  await expect(page).toHaveTitle("(1) Approvals · Safeconduct");
  const second = await gateway.pending("the second of two", "delete from orders where id = 4712");
  await expect(page).toHaveTitle("(2) Approvals · Safeconduct");

  const detail = page.getByRole("article");
  await expect(detail).toHaveAccessibleName(`access request ${first}`);
  await page.keyboard.press("j");
  await expect(detail).toHaveAccessibleName(`access request ${second}`);
  await expect(detail.getByTestId("sql")).toHaveText("delete from orders where id = 4712");
  await page.keyboard.press("k");
  await expect(detail).toHaveAccessibleName(`access request ${first}`);
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);

  await page.keyboard.press("d");
  const deny = page.getByRole("dialog").getByRole("button", { name: "Deny" });
  await expect(deny).toBeDisabled();
  await page.keyboard.type("wrong order");
  await page.keyboard.press("Enter");
  await expect(page).toHaveTitle("(1) Approvals · Safeconduct");
  expect(await gateway.state(first)).toBe("denied");

  await expect(detail).toHaveAccessibleName(`access request ${second}`);
  await page.keyboard.press("a");
  await expect(page.getByRole("dialog", { name: "Approve exactly this?" })).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByText("Nothing waits for you")).toBeVisible();
  expect(await gateway.state(second)).toBe("ready");
});

test("how many rows it may touch is told beside it, by the server's statistics", async ({ gateway, as }) => {
  const page = await as("bob");
  const rows = page.getByRole("article").getByTestId("rows");
  const some = await gateway.pending("one of many");
  await page.goto("/approvals");
  await expect(rows).toHaveText(/^at most about 40,000 rows of public\.orders \(the server's statistics\), read (just now|\d+ s ago)$/);
  const all = await gateway.pending("all of them", "update customers set country = 'CZ'");
  await page.goto(`/access-requests/${all}`);
  await expect(rows).toContainText("about 5,000 rows of public.customers: every row");
  const none = await gateway.pending("a slip", "delete from ordres where id = 1");
  await page.goto(`/access-requests/${none}`);
  await expect(rows).toHaveText("unknown: sessions would find no table of this name (ordres)");

  // While it is read, and when it can't be, the rest is there to be decided.
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await page.route("**/estimate", async (route) => {
    await held;
    await route.fulfill({ json: { summary: "unknown: the server did not answer in time (orders)", tables: [] } });
  });
  await page.goto(`/access-requests/${some}`);
  await expect(rows).toHaveText("the server's statistics are being read");
  await expect(page.getByRole("button", { name: "Approve…" })).toBeEnabled();
  release();
  await expect(rows).toHaveText("unknown: the server did not answer in time (orders)");
  await page.unrouteAll();

  // What is decided is not estimated.
  await gateway.run("bob", "deny", some, "--comment", "not today");
  await expect(rows).toHaveCount(0);
});

test("what somebody else decides goes from the inbox within the time it takes to look", async ({ gateway, as }) => {
  const id = await gateway.pending("taken by a colleague");
  const page = await as("bob");
  await page.goto("/approvals");
  await expect(page.getByRole("article")).toHaveAccessibleName(`access request ${id}`);
  await gateway.run("dora", "deny", id, "--comment", "mine");
  await expect(page.getByText("Nothing waits for you")).toBeVisible();
});

test("what is about to be approved never becomes something else", async ({ gateway, as }) => {
  const first = await gateway.pending("about to be approved");
  const page = await as("bob");
  await page.goto("/approvals");
  const detail = page.getByRole("article");
  await expect(detail).toHaveAccessibleName(`access request ${first}`);
  // More urgent than what is looked at: it comes in above, and what is looked at stays.
  const psql = await gateway.psql("waits in a terminal");
  psql.say("delete from orders where id = 1;");
  await psql.says(/held as access request/);
  await expect(page.getByRole("link", { name: /alice → orders-db/ })).toHaveCount(2);
  await expect(page.getByRole("link", { name: /alice → orders-db/ }).first()).toContainText("waits in a session");
  await expect(detail).toHaveAccessibleName(`access request ${first}`);
  await page.keyboard.press("a");
  await expect(page.getByRole("dialog").getByTestId("sql")).toContainText("set status = 'returned'");
  // Somebody else decides it: the question goes with it, and is not put about what took its place.
  await gateway.run("dora", "deny", first, "--comment", "mine");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(detail).not.toHaveAccessibleName(`access request ${first}`);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  psql.kill();
});

test("a long statement is all there, and what was laid out can be seen as it was written", async ({ gateway, as }) => {
  const sql = `update orders set status = 'returned' where id in (${Array.from({ length: 1500 }, (_, at) => at + 1).join(", ")}) and status = 'sent'`;
  await gateway.pending("many at once", sql);
  const page = await as("bob");
  await page.goto("/approvals");
  const shown = page.getByRole("article").getByTestId("sql");
  expect((await shown.textContent())?.replace(/\s+/g, " ")).toBe(sql);
  await expect(shown).toHaveText(/^update orders\s+set status/);
  await page.getByRole("button", { name: "As written" }).click();
  expect(await shown.textContent()).toBe(sql);
});
