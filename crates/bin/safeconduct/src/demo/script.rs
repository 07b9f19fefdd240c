//! The story, played with the real programs. Every step says what it shows and checks it; the first that does not hold ends the play.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    actors::{Said, Talk, measure, run},
    phone::Phone,
    stage::Stage,
};
use crate::failure::{Exit, Failure};

/// How long the newest entry may be without a checkpoint.
const COVERED_WITHIN: Duration = Duration::from_secs(5);
/// How long the server may take to end a process after a revocation.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Arguments of `psql` that make its output the same everywhere.
const PSQL: [&str; 6] = ["-X", "-q", "-A", "-t", "-P", "pager=off"];

/// Plays it from the first scene to the last.
pub async fn play(stage: &Stage) -> Result<(), Failure> {
    let mut scene = Scenes { stage, number: 0 };
    scene.locked().await?;
    let grant = scene.asks_and_reads().await?;
    scene.held_and_approved().await?;
    scene.denied().await?;
    scene.exact_run().await?;
    scene.signed().await?;
    scene.passkey().await?;
    scene.own_approval().await?;
    scene.policy_alone().await?;
    scene.revoked(&grant).await?;
    scene.expired().await?;
    scene.recording().await?;
    scene.ledger().await?;
    println!("\nThe whole story held.");
    Ok(())
}

struct Scenes<'a> {
    stage: &'a Stage,
    number: u32,
}

impl Scenes<'_> {
    fn title(&mut self, text: &str) {
        self.number += 1;
        println!("\n{:>2}. {text}", self.number);
    }

    async fn locked(&mut self) -> Result<(), Failure> {
        self.title("Locked by default: alice is signed in, and can do nothing.");
        let said = self.run("alice", &["connect", "orders-db"]).await?;
        check(said.code == 3 && said.err.contains("GRANT-001"), "connecting without a grant is refused (exit 3, GRANT-001)", &said)?;
        let said = self.run("alice", &["requests", "--json"]).await?;
        check(said.code == 0 && list(&said.out)?.is_empty(), "and nothing was asked yet", &said)
    }

    async fn asks_and_reads(&mut self) -> Result<String, Failure> {
        self.title("Alice asks to read for 15 minutes. Policy permits it at once.");
        let said = self
            .run("alice", &["request", "orders-db", "--operation", "read", "--for", "15m", "--reason", "look into order 4711", "--json"])
            .await?;
        let answer = json(&said.out)?;
        let grant = field(&answer, "grant")?;
        check(said.code == 0 && field(&answer, "state")? == "active", "the grant is active, and ends by itself", &said)?;
        let mut psql = self.psql("alice").await?;
        psql.say("select count(*) from orders;").await?;
        psql.hear("40000").await?;
        passed("psql reads through the door: 40,000 orders");
        psql.say("\\q").await?;
        psql.end().await?;
        Ok(grant)
    }

    async fn held_and_approved(&mut self) -> Result<(), Failure> {
        self.title("In her psql she writes. The statement is held on the wire; the session waits.");
        let mut psql = self.psql("alice").await?;
        let before = self.stage.postgres.sql("orders", "select status from orders where id = 4711")?;
        psql.say("update orders set status = 'returned' where id = 4711;").await?;
        let request = id_in(&psql.hear("rq-").await?)?;
        check_plain(
            self.stage.postgres.sql("orders", "select status from orders where id = 4711")? == before,
            "the database has not seen it",
        )?;
        println!("    Bob sees what exactly would run, and approves it.");
        let said = self.run("bob", &["show", &request]).await?;
        check(
            said.code == 0 && said.out.contains("update orders set status = 'returned' where id = 4711"),
            "bob is shown the statement itself",
            &said,
        )?;
        self.approve("bob", &request).await?;
        psql.say("\\echo done").await?;
        psql.hear("done").await?;
        check_plain(
            self.stage.postgres.sql("orders", "select status from orders where id = 4711")? == "returned",
            "the same statement went through: order 4711 is returned",
        )?;
        println!("    The same text once more is a new action: it is held again. Alice presses Ctrl-C.");
        psql.say("update orders set status = 'returned' where id = 4711;").await?;
        let second = id_in(&psql.hear("rq-").await?)?;
        check_plain(second != request, "approved once, run once")?;
        self.interrupt(&psql)?;
        psql.hear("ERROR").await?;
        let state = self.state("alice", &second).await?;
        check_plain(state == "withdrawn", "Ctrl-C took the access request back")?;
        // Reading commands from a pipe, psql ends after an interrupt; at a terminal it would go on.
        psql.end().await.map(drop)
    }

    async fn denied(&mut self) -> Result<(), Failure> {
        self.title("A delete without a where clause: Dora says no.");
        let mut psql = self.psql("alice").await?;
        psql.say("delete from order_items;").await?;
        let request = id_in(&psql.hear("rq-").await?)?;
        let said = self.run("dora", &["deny", &request, "--comment", "every line of every order?"]).await?;
        check(said.code == 0, "dora denies it with a comment", &said)?;
        psql.hear("denied by dora").await?;
        psql.say("select count(*) > 90000 from order_items;").await?;
        psql.hear("t").await?;
        passed("nothing was deleted, and the session goes on");
        psql.say("\\q").await?;
        psql.end().await.map(drop)
    }

    async fn exact_run(&mut self) -> Result<(), Failure> {
        self.title("One exact action without a session: asked, approved, run once by the gateway from what is stored.");
        let sql = "update products set stock = stock + 1 where id = 42 returning id, stock";
        let mut waiting = Talk::start(
            self.stage,
            "alice",
            &["run", "orders-db", "--reason", "found one behind the shelf", "--format", "csv", "--", sql],
        )?;
        let request = id_in(&waiting.hear("rq-").await?)?;
        self.approve("dora", &request).await?;
        waiting.hear("42,").await?;
        check_plain(waiting.end().await? == 0, "alice sees the row it returned")?;
        let state = self.state("alice", &request).await?;
        check_plain(state == "settled", "and it is settled: it will never run again")
    }

    async fn signed(&mut self) -> Result<(), Failure> {
        self.title("What reaches beyond the tables takes a signature: a record of an approval is not enough.");
        let key = self.stage.folder().join("bobs-key");
        let made = std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        if !made.is_ok_and(|status| status.success()) {
            println!("      - left out: there is no `ssh-keygen` here (Debian: openssh-client)");
            return Ok(());
        }
        let (private, public) = (key.display().to_string(), format!("{}.pub", key.display()));
        self.enrol("bob", &public, "bob's new laptop").await?;
        passed("bob's key is enrolled: ann asked, abe approved");
        let mut waiting =
            Talk::start(self.stage, "alice", &["run", "orders-db", "--reason", "the planner is lost", "--", "analyze orders"])?;
        let request = id_in(&waiting.hear("rq-").await?)?;
        let said = self.run("bob", &["show", &request, "--json"]).await?;
        let digest = field(&json(&said.out)?, "digest")?;
        let said = self.run("bob", &["approve", &request, "--yes", "--digest", &digest]).await?;
        check(said.code == 3 && said.err.contains("APPROVE-004"), "bob's word alone is refused (exit 3, APPROVE-004)", &said)?;
        let said = self.run("bob", &["approve", &request, "--yes", "--digest", &digest, "--key", &private]).await?;
        check(said.code == 0, "with his signature it counts", &said)?;
        check_plain(waiting.end().await? == 0, "and alice's statement ran")
    }

    async fn passkey(&mut self) -> Result<(), Failure> {
        self.title("Dora has no file: she approves with a passkey, on her telephone. Here software stands in for its hands.");
        let stage = self.stage;
        let phone = Phone::new(&stage.running.config.public_url, &stage.running.keys.ca_file, &stage.folder().join("people/dora"))?;
        let public = stage.folder().join("doras-passkey.pub");
        std::fs::write(&public, phone.line()).map_err(|error| Failure::local("writing a key", &error))?;
        self.enrol("dora", &public.display().to_string(), "dora's telephone").await?;
        passed("her passkey is enrolled as every key is: two administrators");
        let mut waiting =
            Talk::start(stage, "alice", &["run", "orders-db", "--reason", "the planner is lost again", "--", "analyze order_items"])?;
        let request = id_in(&waiting.hear("rq-").await?)?;
        let after = phone.approve(&request).await?;
        check_plain(after.state != "pending", "touched and verified: her approval counts")?;
        check_plain(waiting.end().await? == 0, "and alice's statement ran")?;
        self.receipt(&request).await
    }

    /// A key becomes somebody's: one administrator asks, another approves.
    async fn enrol(&self, whose: &str, file: &str, reason: &str) -> Result<(), Failure> {
        let said = self.run("ann", &["key", "enrol", whose, file, "--reason", reason, "--json"]).await?;
        let enrolment = field(&json(&said.out)?, "id")?;
        self.approve("abe", &enrolment).await
    }

    async fn receipt(&self, request: &str) -> Result<(), Failure> {
        let receipt = self.stage.folder().join("receipt.json");
        // The newest entries are under a checkpoint within a second.
        let mut said = self.run("carol", &["receipt", request, "--out", &receipt.display().to_string()]).await?;
        let since = Instant::now();
        while said.err.contains("LEDGER-001") && since.elapsed() < COVERED_WITHIN {
            tokio::time::sleep(Duration::from_millis(100)).await;
            said = self.run("carol", &["receipt", request, "--out", &receipt.display().to_string()]).await?;
        }
        check(said.code == 0, "carol takes its receipt: who asked, who signed, what came of it, each step proved", &said)?;
        let path = receipt.display().to_string();
        let said = self.run("carol", &["ledger", "verify", "--receipt", &path]).await?;
        check(said.code == 0 && said.out.contains("signed with SHA256:"), "it verifies, dora's signature and her touch included", &said)?;
        let text = std::fs::read_to_string(&receipt).map_err(|error| Failure::local("reading the receipt", &error))?;
        let forged = text.replace("analyze order_items", "analyze prices");
        std::fs::write(&receipt, forged).map_err(|error| Failure::local("writing the receipt", &error))?;
        let said = self.run("carol", &["ledger", "verify", "--receipt", &path]).await?;
        check(said.code != 0 && said.err.contains("not what the ledger commits to"), "with another statement in it, it does not", &said)
    }

    async fn own_approval(&mut self) -> Result<(), Failure> {
        self.title("Alice asks for a write window, and tries to approve it herself.");
        let said = self
            .run("alice", &["request", "orders-db", "--operation", "write", "--for", "10m", "--reason", "fix prices", "--json"])
            .await?;
        let answer = json(&said.out)?;
        let (request, digest) = (field(&answer, "id")?, field(&answer, "digest")?);
        let said = self.run("alice", &["approve", &request, "--yes", "--digest", &digest]).await?;
        check(said.code == 3 && said.err.contains("APPROVE-001"), "refused: nobody approves their own (exit 3, APPROVE-001)", &said)?;
        let said = self.run("alice", &["cancel", &request]).await?;
        check(said.code == 0, "she takes it back", &said)
    }

    async fn policy_alone(&mut self) -> Result<(), Failure> {
        self.title("Ann, an administrator, tries to change the policy alone.");
        let before = self.policy_hash().await?;
        let bundle = self.stage.folder().join("new-bundle");
        write_open_bundle(&bundle)?;
        let said = self
            .run("ann", &["policy", "apply", &bundle.display().to_string(), "--reason", "everybody may read billing", "--json"])
            .await?;
        let answer = json(&said.out)?;
        let (request, digest) = (field(&answer, "id")?, field(&answer, "digest")?);
        check(field(&answer, "state")? == "pending", "her change waits for another administrator", &said)?;
        let said = self.run("ann", &["approve", &request, "--yes", "--digest", &digest]).await?;
        check(said.code == 3, "she can't approve it herself (exit 3)", &said)?;
        check_plain(self.policy_hash().await? == before, "the policy is what it was")?;
        let said = self.run("abe", &["deny", &request, "--comment", "no, they may not"]).await?;
        check(said.code == 0, "abe denies it", &said)
    }

    async fn revoked(&mut self, grant: &str) -> Result<(), Failure> {
        self.title("Revoked in the middle of a statement.");
        let mut psql = self.psql("alice").await?;
        psql.say("\\echo asleep").await?;
        psql.hear("asleep").await?;
        psql.say("select pg_sleep(30);").await?;
        self.until_asleep().await?;
        let since = Instant::now();
        let said = self.run("bob", &["revoke", grant, "--reason", "enough for today"]).await?;
        let answered = since.elapsed();
        check(said.code == 0, "bob revokes alice's grant", &said)?;
        let (_, cut) = measure(&mut psql, "revoked by bob", since).await?;
        println!("      ✓ alice's psql was told after {} ms (bob's own command took {} ms)", cut.as_millis(), answered.as_millis());
        psql.end().await?;
        // The server ends the process when it is told to, which is after the client was.
        let sleeping =
            "select count(*) from pg_stat_activity where query like '%pg_sleep(30)%' and application_name like 'safeconduct se-%'";
        let mut asleep = self.stage.postgres.sql("orders", sleeping)?;
        while asleep != "0" && since.elapsed() < GONE_WITHIN {
            tokio::time::sleep(Duration::from_millis(5)).await;
            asleep = self.stage.postgres.sql("orders", sleeping)?;
        }
        check_plain(asleep == "0", "and the statement is gone from the database")
    }

    async fn expired(&mut self) -> Result<(), Failure> {
        self.title("A grant of 3 seconds ends by itself, idle session and all.");
        let said = self
            .run("alice", &["request", "orders-db", "--operation", "read", "--for", "3s", "--reason", "a quick look", "--json"])
            .await?;
        check(said.code == 0, "granted for 3 seconds", &said)?;
        let mut psql = self.psql("alice").await?;
        psql.say("select pg_sleep(20);").await?;
        psql.hear("expired").await?;
        psql.end().await?;
        passed("the session ended with the grant");
        let said = self.run("alice", &["connect", "orders-db"]).await?;
        check(said.code == 3, "and connecting is refused again", &said)
    }

    async fn recording(&mut self) -> Result<(), Failure> {
        self.title("Carol, an auditor, looks at what happened.");
        let said = self.run("carol", &["sessions", "--json"]).await?;
        let sessions = list(&said.out)?;
        check(sessions.len() >= 5, "every session is there", &said)?;
        let mut written = false;
        for session in &sessions {
            let said = self.run("carol", &["replay", &field(session, "id")?]).await?;
            check_code(&said)?;
            written |= said.out.contains("update orders set status = 'returned' where id = 4711");
        }
        check_plain(written, "and the recordings hold the statement that was approved")
    }

    async fn ledger(&mut self) -> Result<(), Failure> {
        self.title("The ledger proves itself.");
        let said = self.run("carol", &["ledger", "verify"]).await?;
        check(said.code == 0, said.out.lines().next().unwrap_or("verified"), &said)?;
        let copy = self.stage.folder().join("ledger-copy");
        let folder = copy.display().to_string();
        let said = self.run("carol", &["ledger", "export", &folder]).await?;
        check(said.code == 0, "exported, with every entry", &said)?;
        let said = self.run("carol", &["ledger", "verify", "--dir", &folder]).await?;
        check(said.code == 0, "the copy verifies offline", &said)?;
        let victim = edit_one_byte(&copy)?;
        println!("    Somebody edits one byte of {victim}.");
        let said = self.run("carol", &["ledger", "verify", "--dir", &folder]).await?;
        let report = format!("{}{}", said.out, said.err);
        let line = report.lines().find(|line| line.contains("entry")).unwrap_or_default().trim().to_owned();
        check(said.code == 1 && !line.is_empty(), &format!("verify names it: {line}"), &said)
    }

    async fn psql(&self, who: &str) -> Result<Talk, Failure> {
        let mut arguments = vec!["connect", "orders-db", "--"];
        arguments.extend(PSQL);
        println!("    {who}$ safeconduct connect orders-db");
        Talk::start(self.stage, who, &arguments)
    }

    async fn run(&self, who: &str, arguments: &[&str]) -> Result<Said, Failure> {
        println!("    {who}$ safeconduct {}", arguments.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" "));
        run(self.stage, who, arguments).await
    }

    async fn approve(&self, who: &str, request: &str) -> Result<(), Failure> {
        let said = run(self.stage, who, &["show", request, "--json"]).await?;
        let digest = field(&json(&said.out)?, "digest")?;
        let said = self.run(who, &["approve", request, "--yes", "--digest", &digest]).await?;
        check(said.code == 0, &format!("{who} approves what has that digest"), &said)
    }

    async fn state(&self, who: &str, request: &str) -> Result<String, Failure> {
        // The client hears of it a moment before the ledger has it; a moment is enough.
        for _ in 0..100 {
            let said = run(self.stage, who, &["show", request, "--json"]).await?;
            let state = field(&json(&said.out)?, "state")?;
            if state != "pending" && state != "claimed" {
                return Ok(state);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok("pending".to_owned())
    }

    async fn policy_hash(&self) -> Result<String, Failure> {
        let said = run(self.stage, "ann", &["status", "--json"]).await?;
        field(&json(&said.out)?, "policy")
    }

    async fn until_asleep(&self) -> Result<(), Failure> {
        for _ in 0..200 {
            let asleep = self.stage.postgres.sql("orders", "select count(*) from pg_stat_activity where wait_event = 'PgSleep'")?;
            if asleep != "0" {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(broken("the statement never started", ""))
    }

    fn interrupt(&self, psql: &Talk) -> Result<(), Failure> {
        let pid = psql.id().ok_or_else(|| broken("psql is gone", ""))?;
        let status = std::process::Command::new("kill").args(["-INT", "--", &format!("-{pid}")]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(broken("psql could not be interrupted", "")),
        }
    }
}

fn check(holds: bool, what: &str, said: &Said) -> Result<(), Failure> {
    if holds {
        passed(what);
        return Ok(());
    }
    Err(broken(what, &format!("exit {}\n{}{}", said.code, said.out, said.err)))
}

fn check_code(said: &Said) -> Result<(), Failure> {
    if said.code == 0 { Ok(()) } else { Err(broken("a command failed", &said.err)) }
}

fn check_plain(holds: bool, what: &str) -> Result<(), Failure> {
    if holds {
        passed(what);
        Ok(())
    } else {
        Err(broken(what, ""))
    }
}

fn passed(what: &str) {
    println!("      ✓ {what}");
}

fn broken(what: &str, why: &str) -> Failure {
    println!("      ✗ {what}");
    Failure::new("DEMO-003", Exit::Error, format!("the story broke: {what}")).why(why.to_owned())
}

fn quoted(argument: &str) -> String {
    let plain = argument.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=/.:,".contains(&b));
    if plain { argument.to_owned() } else { format!("'{}'", argument.replace('\'', "'\\''")) }
}

fn id_in(line: &str) -> Result<String, Failure> {
    let start = line.find("rq-").ok_or_else(|| broken("no access request was named", line))?;
    Ok(line.chars().skip(line.get(..start).map_or(0, |s| s.chars().count())).take(15).collect())
}

fn json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|e| broken("a command printed no JSON", &format!("{e}: {text}")))
}

/// The items of a list, whether it comes bare or as a page.
fn list(text: &str) -> Result<Vec<Value>, Failure> {
    match json(text)? {
        Value::Array(items) => Ok(items),
        Value::Object(page) => match page.get("items") {
            Some(Value::Array(items)) => Ok(items.clone()),
            _ => Err(broken("a command printed no list", text)),
        },
        _ => Err(broken("a command printed no list", text)),
    }
}

fn field(value: &Value, name: &str) -> Result<String, Failure> {
    match value.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Object(inner)) => match inner.get("state").or_else(|| inner.get("id")) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(broken(&format!("`{name}` is missing in what a command printed"), &value.to_string())),
        },
        _ => Err(broken(&format!("`{name}` is missing in what a command printed"), &value.to_string())),
    }
}

fn write_open_bundle(folder: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::local("writing a bundle", &e);
    std::fs::create_dir_all(folder.join("policies")).map_err(failed)?;
    std::fs::write(
        folder.join("policies/open.cedar"),
        "@id(\"open\")\npermit (principal, action == Action::\"read\", resource is Resource);\n",
    )
    .map_err(failed)
}

/// Changes one byte of what the last entry says, not of how long it is; returns the file's name.
fn edit_one_byte(folder: &Path) -> Result<String, Failure> {
    let failed = |e: std::io::Error| Failure::local("editing the copy", &e);
    let mut files = Vec::new();
    let mut folders = vec![folder.join("tile/entries")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let victim = files.pop().ok_or_else(|| broken("the export has no entries", ""))?;
    let mut bytes = std::fs::read(&victim).map_err(failed)?;
    // Entries are JSON with a length before each; the name of the last one's type is certainly content.
    let name = b"\"type\":\"";
    let place = bytes.windows(name.len()).rposition(|window| window == name).map(|at| at + name.len());
    let byte = place.and_then(|place| bytes.get_mut(place)).ok_or_else(|| broken("the export has no entry to edit", ""))?;
    *byte ^= 1;
    std::fs::write(&victim, bytes).map_err(failed)?;
    Ok(victim.strip_prefix(folder).unwrap_or(&victim).display().to_string())
}
