// Where one is signed in, and who there is: looked at, changed by asking, ended at once.
import AxeBuilder from "@axe-core/playwright";
import { expect, settleAll, signIn, test } from "./gateway";

test.beforeEach(({ gateway }) => settleAll(gateway));

test("f03 a sign-in that is ended elsewhere opens nothing any more", async ({ browser, gateway, as }) => {
  const left = await browser.newContext({ baseURL: gateway.url });
  await signIn(left, gateway, "dora");
  const dora = await as("dora");
  await dora.goto("/");
  await dora.getByLabel("account of dora").click();
  await dora.getByRole("link", { name: "Sign-ins and settings" }).click();
  const signIns = dora.getByRole("region", { name: "sign-ins" });
  const here = signIns.getByRole("listitem").filter({ hasText: "this browser" });
  await expect(here).toHaveCount(1);
  await expect(here.getByRole("button")).toHaveCount(0);
  await signIns.getByRole("button", { name: "End all others" }).click();
  await expect(signIns.getByRole("listitem")).toHaveCount(1);
  expect((await left.request.get("/api/v1/whoami")).status()).toBe(401);
  expect((await dora.context().request.get("/api/v1/whoami")).status()).toBe(200);
  await left.close();
});

test("times follow the time zone that somebody chose", async ({ gateway, as }) => {
  const id = await gateway.pending("at what time");
  const bob = await as("bob");
  const shown = async () => {
    await bob.goto(`/access-requests/${id}`);
    const time = bob.getByLabel("what happened").locator("time").first();
    return { at: Date.parse((await time.getAttribute("datetime")) ?? ""), text: await time.innerText() };
  };
  const utc = await shown();
  await bob.goto("/account");
  const loaded = bob.waitForEvent("load");
  await bob.getByLabel("Time zone").selectOption("Asia/Tokyo");
  await loaded;
  const tokyo = await shown();
  expect(tokyo.at).toBe(utc.at);
  const said = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "Asia/Tokyo" }).format(utc.at);
  expect(tokyo.text).toContain(said);
  expect(utc.text).not.toContain(said);
});

test("a person is made by one administrator with another's approval; the code is shown once and opens an account", async ({ browser, gateway, as, complaints }) => {
  const ann = await as("ann");
  await ann.goto("/people");
  await ann.getByRole("button", { name: "New person…" }).click();
  const dialog = ann.getByRole("dialog");
  await dialog.getByLabel("Name").fill("erin");
  await dialog.getByLabel("Shown as").fill("Erin <b>Example</b>");
  await dialog.getByLabel("Why").fill("starts today");
  await dialog.getByRole("button", { name: "Ask" }).click();
  await expect(ann).toHaveURL(/\/access-requests\/rq-/);
  await expect(ann.getByLabel("one-time secret")).toHaveCount(0);

  const abe = await as("abe");
  await abe.goto(new URL(ann.url()).pathname);
  await abe.getByRole("button", { name: /^Approve/ }).click();
  await abe.getByRole("button", { name: /^Approve/ }).last().click();
  await expect(abe.getByText(/executed|done|ran/).first()).toBeVisible();
  // Whoever approved it gets no secret.
  await expect(abe.getByLabel("one-time secret")).toHaveCount(0);

  await ann.getByRole("button", { name: "Show its secret, once" }).click();
  const code = await ann.getByLabel("one-time secret").locator("code").innerText();
  await ann.reload();
  await ann.getByRole("button", { name: "Show its secret, once" }).click();
  await expect(ann.getByLabel("one-time secret").getByRole("alert")).toContainText("ADMIN-002");
  expect(complaints.splice(0).every((complaint) => complaint.includes("409"))).toBe(true);

  const context = await browser.newContext({ baseURL: gateway.url });
  const erin = await context.newPage();
  // As the link of a first start has it: after the #, and not left in the address.
  await erin.goto(`/sign-in#name=erin&code=${encodeURIComponent(code)}`);
  await expect(erin.getByLabel("Name")).toHaveValue("erin");
  await expect(erin.getByLabel("One-time code")).toHaveValue(code);
  await expect(erin).toHaveURL(/\/sign-in$/);
  await erin.getByLabel("New password").fill("correct horse battery");
  await erin.getByRole("button", { name: "Choose and sign in" }).click();
  await expect(erin.getByRole("heading", { name: "What you may do now" })).toBeVisible();
  await context.close();

  await ann.goto("/people");
  await ann.getByLabel("search people").fill("erin");
  await expect(ann.getByRole("listitem", { name: "erin" })).toContainText("Erin <b>Example</b>");
  await ann.getByRole("listitem", { name: "erin" }).getByRole("button", { name: "Sign-ins" }).click();
  await ann.getByRole("dialog").getByRole("button", { name: /^end / }).click();
  await expect(ann.getByRole("dialog")).toContainText("Nowhere");
});

test("f52 who may not list people learns nothing, who only audits is offered no change", async ({ as, complaints }) => {
  const carol = await as("carol");
  await carol.goto("/");
  await carol.getByRole("link", { name: "People" }).click();
  await expect(carol.getByRole("listitem", { name: "alice" })).toBeVisible();
  await expect(carol.getByRole("button", { name: "New person…" })).toHaveCount(0);
  await expect(carol.getByRole("listitem", { name: "alice" }).getByRole("button")).toHaveCount(0);
  await carol.getByRole("link", { name: "groups" }).click();
  await expect(carol.getByRole("listitem", { name: "dba" })).toContainText("bob");
  const alice = await as("alice");
  await alice.goto("/people");
  await expect(alice.getByRole("alert")).toContainText("VIEW-001");
  await expect(alice.getByText("carol")).toHaveCount(0);
  expect(complaints.splice(0).every((complaint) => complaint.includes("403"))).toBe(true);
});

test("ending is offered only to those who may", async ({ gateway, as }) => {
  const psql = await gateway.psql("to be looked at");
  psql.say("select 'here';");
  await psql.says(/here/);
  const [session] = await gateway.json<{ id: string; grants: string[] }[]>("alice", "sessions", "--live");
  const carol = await as("carol");
  const ann = await as("ann");
  const alice = await as("alice");
  for (const [page, may] of [
    [carol, 0],
    [ann, 1],
    [alice, 1],
  ] as const) {
    await page.goto(`/sessions/${session?.id}`);
    await expect(page.getByText("select 'here'").first()).toBeVisible();
    await expect(page.getByRole("button", { name: "End it…" })).toHaveCount(may);
  }
  const request = session?.grants[0]?.replace("gr-", "rq-") ?? "";
  for (const [page, may] of [
    [carol, 0],
    [ann, 1],
  ] as const) {
    await page.goto(`/access-requests/${request}`);
    await expect(page.getByLabel("what happened")).toBeVisible();
    await expect(page.getByRole("button", { name: "Revoke…" })).toHaveCount(may);
  }
  psql.kill();
});

for (const width of [1440, 360])
  test(`nothing stands in anybody's way on account and people pages (axe, ${width})`, async ({ as }) => {
    const ann = await as("ann", { viewport: { width, height: 800 } });
    for (const path of ["/account", "/people", "/people?show=groups", "/people?show=workloads"]) {
      await ann.goto(path);
      await expect(ann.getByRole("heading").first()).toBeVisible();
      await expect(ann.getByLabel("loading")).toHaveCount(0);
      const { violations } = await new AxeBuilder({ page: ann }).analyze();
      expect(violations.map(({ id, nodes }) => `${path}: ${id} ${nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
      expect(await ann.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    }
  });

test("f56 a workload's token that is for looking alone is approved as that, looks, and does nothing else", async ({ playwright, gateway, as }) => {
  const ann = await as("ann");
  await ann.goto("/people?show=workloads");
  await ann.getByRole("button", { name: "New workload…" }).click();
  const dialog = ann.getByRole("dialog");
  await dialog.getByLabel("Name").fill("nightly");
  await dialog.getByLabel("Shown as").fill("Nightly report");
  await dialog.getByLabel("Its token is for").selectOption("looking");
  await dialog.getByLabel("Why").fill("counts what happened");
  await dialog.getByRole("button", { name: "Ask" }).click();
  await expect(ann).toHaveURL(/\/access-requests\/rq-/);
  const abe = await as("abe");
  await abe.goto(new URL(ann.url()).pathname);
  await expect(abe.getByText("its token is for read alone").first()).toBeVisible();
  await abe.getByRole("button", { name: /^Approve/ }).click();
  await abe.getByRole("button", { name: /^Approve/ }).last().click();
  await ann.getByRole("button", { name: "Show its secret, once" }).click();
  const token = await ann.getByLabel("one-time secret").locator("code").innerText();
  const signIns = async () => {
    await ann.goto("/people?show=workloads");
    await ann.getByRole("listitem", { name: "nightly" }).getByRole("button", { name: "Tokens" }).click();
    return ann.getByRole("dialog").getByRole("listitem");
  };
  await expect(await signIns()).toContainText("read only");
  await expect(await signIns()).toContainText("Never used");
  const job = await playwright.request.newContext({ baseURL: gateway.url, ignoreHTTPSErrors: true, extraHTTPHeaders: { authorization: `Bearer ${token}` } });
  expect((await job.get("/api/v1/resources")).status()).toBe(200);
  const refused = await job.post("/api/v1/access-requests", { data: {} });
  expect([refused.status(), ((await refused.json()) as { code: string }).code]).toEqual([403, "SIGN-010"]);
  expect(refused.headers()["www-authenticate"]).toBe('Bearer error="insufficient_scope", scope="request"');
  await job.dispose();
  await expect(await signIns()).toContainText(/Last used .* from 127\.0\.0\.1|Last used .* from ::1/);
});

test("a page that nobody has touched for a while says that it asks by itself", async ({ gateway, as }) => {
  const bob = await as("bob");
  await bob.clock.install();
  await bob.goto("/approvals");
  await expect(bob.getByRole("heading").first()).toBeVisible();
  const unattended = async (why: string) => {
    const asked = bob.waitForRequest((request) => request.url().includes("/api/v1/access-requests"));
    await gateway.pending(why, `delete from orders where note = '${why}'`);
    return (await (await asked).allHeaders())["x-safeconduct-unattended"];
  };
  expect(await unattended("while somebody looks")).toBeUndefined();
  await bob.clock.fastForward("02:00");
  expect(await unattended("while nobody does")).toBe("1");
  await bob.keyboard.press("Shift");
  expect(await unattended("and again")).toBeUndefined();
});

test("who only has to sign in again does so in another tab, and what they wrote stays", async ({ gateway, as, complaints }) => {
  const alice = await as("alice");
  let old = true;
  await alice.route("**/api/v1/access-requests/preview", async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { decision: { outcome: string; reasons: unknown[] } };
    await route.fulfill({ response: answer, json: old ? { ...body, decision: { ...body.decision, outcome: "deny", reasons: [] }, sign_in_again: "newer" } : body });
  });
  await alice.goto("/resources/orders-db");
  await alice.getByLabel("Why").fill("a long and careful reason");
  await expect(alice.getByTestId("verdict")).toContainText("Policy wants a newer sign-in for this.");
  await expect(alice.getByRole("button", { name: "Ask", exact: true })).toBeDisabled();
  const opened = alice.waitForEvent("popup");
  await alice.getByRole("link", { name: "Sign in again" }).click();
  const other = await opened;
  await other.getByLabel("Name").fill("alice");
  await other.getByLabel("Password").fill(gateway.password("alice"));
  old = false;
  await other.keyboard.press("Enter");
  await expect(other.getByRole("heading", { name: "What you may do now" })).toBeVisible();
  await other.close();
  // As a browser does it for a tab that is looked at again.
  await alice.evaluate(() => document.dispatchEvent(new Event("visibilitychange", { bubbles: true })));
  await expect(alice.getByTestId("verdict")).toContainText("Allowed at once.");
  await expect(alice.getByLabel("Why")).toHaveValue("a long and careful reason");
  await alice.getByRole("button", { name: "Ask", exact: true }).click();
  await expect(alice).toHaveURL(/\/access-requests\/rq-/);
  complaints.length = 0;
});
