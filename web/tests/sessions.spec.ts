// What was done with a right: its sessions beside the access request, played along a line of time, and how soon they were gone.
import { expect, settleAll, test } from "./gateway";

test.beforeEach(({ gateway }) => settleAll(gateway));

test("an access request shows the sessions in which it was used, proved; their recording is played along a line of time", async ({ gateway, as }) => {
  const psql = await gateway.psql("to be played");
  for (const statement of ["select 'first' from orders limit 1;", "select 1/0;", "select 'last' from orders limit 1;"]) psql.say(statement);
  await psql.says(/last/);
  const [session] = await gateway.json<{ id: string; grants: string[] }[]>("alice", "sessions", "--live");
  const alice = await as("alice");
  // The session lives by every grant that covers it; its statements pass under one of them.
  const recording = await (await alice.context().request.get(`/api/v1/sessions/${session?.id}/recording?from=1&limit=200`)).json();
  const passed: string = recording.records.find((entry: { what: string; text?: string }) => entry.what === "intent" && entry.text?.includes("'first'")).grant;
  const request = passed.replace("gr-", "rq-");
  await alice.goto("/sessions");
  await expect(alice.getByRole("link", { name: /alice → orders-db/ }).first()).toContainText(/\d (s|min) .*left|\d (s|min) left/);
  await alice.goto(`/access-requests/${request}`);
  const used = alice.getByRole("region", { name: "sessions" });
  await expect(used).toContainText("a session was opened");
  await expect(used.locator("[data-proof=proved]").first()).toBeVisible();
  // Other sessions may have used the same grant: the newest is the last.
  await used.getByText("Statements that passed with it").last().click();
  await expect(used).toContainText("select 'first' from orders limit 1");
  await expect(used).toContainText("22012");
  // An approver decides about the asking and does not read along.
  const bob = await as("bob");
  await bob.goto(`/access-requests/${request}`);
  await expect(bob.getByText(request).or(bob.getByText("Nothing to see here")).first()).toBeVisible();
  await expect(bob.getByRole("region", { name: "sessions" })).toHaveCount(0);

  // A grant that comes later is taken up by the open session; what passed before is not its own.
  const later = await gateway.granted("taken up later");
  await alice.goto(`/access-requests/${later}`);
  await expect(used).toContainText("an open session took it up");
  await used.getByText("Statements that passed with it").last().click();
  await expect(used).toContainText("None.");
  await alice.goto(`/access-requests/${request}`);

  for (const grant of [...(session?.grants ?? []), later.replace("rq-", "gr-")]) await gateway.run("ann", "revoke", grant, "--reason", "seen enough");
  await used.getByRole("link", { name: session?.id }).click();
  const time = alice.getByRole("group", { name: "time" });
  await expect(time).toContainText("1 failed");
  await alice.locator(".record").first().click();
  await time.getByLabel("speed").selectOption("64");
  await time.getByRole("button", { name: "play" }).click();
  await expect(alice.locator(".record[aria-current=true]")).toContainText("closed");
  await time.getByLabel("moment").focus();
  await alice.keyboard.press("Home");
  await expect(alice.locator(".record[aria-current=true]")).toContainText("opened");

  const carol = await as("carol");
  await carol.goto("/insights");
  const cuts = carol.getByRole("figure", { name: /until its session was gone/ });
  await expect(cuts).toContainText("closed");
  await cuts.getByText("As a table").click();
  await expect(cuts.getByRole("columnheader", { name: "server’s process gone" })).toBeVisible();
  psql.kill();
});
