//! `ledger`: reading it, verifying it with the pinned key, carrying it away. The newest checkpoint seen is remembered, and a log that
//! does not extend it is refused.

use std::path::Path;

use safeconduct_api::dto;
use safeconduct_evidence::Roots;
use safeconduct_ledger::{
    Checkpoint, EntryProof, Report, SignedCheckpoint, StoredBody, VerifierKey, consistency_proof, explain, tile, verify_log,
};
use safeconduct_verify::{Directory, Receipt};

use super::{
    Context,
    ledger_remote::{Remote, fetch_tile},
};
use crate::{
    cli::{self, Ledger},
    failure::Failure,
    output::{cell, count, when_short},
};

/// Entries per call.
const ENTRIES: u64 = 200;

pub async fn run(context: &Context, verb: Ledger) -> Result<(), Failure> {
    match verb {
        Ledger::Verify(args) => verify(context, args).await,
        Ledger::Export(args) => export(context, &args.dir).await,
        Ledger::Tail(args) => tail(context, args).await,
        Ledger::Checkpoint => checkpoint(context).await,
        Ledger::Prove(args) => prove(context, args).await,
    }
}

/// The key that was pinned at sign-in, unless another is named.
pub fn key(context: &Context, named: Option<&str>) -> Result<VerifierKey, Failure> {
    let pinned = context.home.profile()?.map(|profile| profile.ledger_key);
    let key = named.map(ToOwned::to_owned).or(pinned);
    let key = key.ok_or_else(|| Failure::usage("whose ledger is it?").next("sign in once, or name its public key with `--vkey`"))?;
    VerifierKey::parse(&key).map_err(|error| Failure::usage(format!("`{key}` is no ledger key")).why(explain(&error)))
}

/// A checkpoint that was remembered, believed only if the key signed it.
fn open(note: &[u8], key: &VerifierKey, what: &str) -> Result<SignedCheckpoint, Failure> {
    Checkpoint::open(note, std::slice::from_ref(key)).map_err(|error| Failure::ledger(format_args!("{what}: {}", explain(&error))))
}

fn remembered(context: &Context, key: &VerifierKey) -> Result<Option<Checkpoint>, Failure> {
    let note = context.home.checkpoint()?;
    note.map(|note| open(note.as_bytes(), key, "the remembered checkpoint").map(|signed| signed.checkpoint)).transpose()
}

async fn verify(context: &Context, args: cli::LedgerVerify) -> Result<(), Failure> {
    let key = key(context, args.vkey.as_deref())?;
    if let Some(file) = &args.receipt {
        let bytes = std::fs::read(file).map_err(|error| Failure::local(&format!("reading {}", file.display()), &error))?;
        let roots = args.roots.as_deref().map(|roots| root_keys(roots, args.needed)).transpose()?;
        let proved = Receipt::parse(&bytes).and_then(|receipt| receipt.verify(&[key], roots.as_ref())).map_err(Failure::ledger)?;
        if context.output.json {
            return context.output.json(&serde_json::json!({ "verified": true, "receipt": proved }));
        }
        return context.output.line(format!("verified: {proved}").trim_end());
    }
    let mut checkpoints = Vec::new();
    for file in &args.checkpoint {
        let note = std::fs::read(file).map_err(|error| Failure::local(&format!("reading {}", file.display()), &error))?;
        checkpoints.push(open(&note, &key, &file.display().to_string())?.checkpoint);
    }
    let report = if let Some(dir) = args.dir {
        if !dir.is_dir() {
            return Err(Failure::usage(format!("`{}` is no directory", dir.display())));
        }
        verify_log(&mut Directory::new(&dir), &[key], &checkpoints).map_err(Failure::ledger)?
    } else {
        checkpoints.extend(remembered(context, &key)?);
        let mut remote = Remote::new(context.client()?);
        let keys = [key];
        // The verifier reads file by file and waits for each: not on the runtime's own threads.
        let verified = tokio::task::spawn_blocking(move || {
            let verdict = verify_log(&mut remote, &keys, &checkpoints);
            (verdict, remote)
        });
        let (verdict, mut remote) = verified.await.map_err(|_| Failure::nonsense("the verifier ended"))?;
        if let Some(failure) = remote.take_failure() {
            return Err(failure);
        }
        let report = verdict.map_err(Failure::ledger)?;
        if let Some(note) = remote.note() {
            context.home.remember_checkpoint(note)?;
        }
        report
    };
    show(context, &report)
}

fn root_keys(file: &Path, needed: Option<usize>) -> Result<Roots, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::local(&format!("reading {}", file.display()), &error))?;
    Roots::read(&text, needed)
        .map_err(|invalid| Failure::usage(format!("`{}` names no root keys", file.display())).why(invalid.to_string()))
}

fn show(context: &Context, report: &Report) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(&serde_json::json!({ "verified": true, "report": report }));
    }
    let output = context.output;
    output.line(format!("verified: {} entries of {}, signed by {}", report.entries, report.origin, report.signed_by))?;
    output.line(format!("  root {}", report.root))?;
    match &report.bodies {
        Some(bodies) => output.line(format!("  {} bodies match their entries, {} were erased", bodies.present, bodies.erased))?,
        None => output.line("  without bodies: you may not read them")?,
    }
    if !report.remembered.is_empty() {
        let sizes: Vec<String> = report.remembered.iter().map(ToString::to_string).collect();
        output.line(format!("  it extends the checkpoint(s) seen earlier, of {} entries", sizes.join(", ")))?;
    }
    match report.uncovered {
        0 => output.line("  a signed checkpoint covers every entry"),
        uncovered => output.line(format!("  {} not covered by a checkpoint yet", count(uncovered, "entry is", "entries are"))),
    }
}

async fn checkpoint(context: &Context) -> Result<(), Failure> {
    let key = key(context, None)?;
    let client = context.client()?;
    let note = client.bytes("/ledger/checkpoint", safeconduct_ledger::MAX_NOTE_BYTES).await?;
    let note = note.ok_or_else(|| Failure::ledger("there is no checkpoint yet"))?;
    let newest = open(&note, &key, "the checkpoint")?;
    if let Some(older) = remembered(context, &key)? {
        let (remote, sizes) = (Remote::at(client, newest.checkpoint.size), (older.size, newest.checkpoint.size));
        let proof = if older.size == 0 || sizes.0 >= sizes.1 {
            Vec::new()
        } else {
            let proved = tokio::task::spawn_blocking(move || consistency_proof(&remote, sizes.0, sizes.1));
            proved.await.map_err(|_| Failure::nonsense("the proof ended"))?.map_err(|error| Failure::ledger(explain(&error)))?
        };
        newest.checkpoint.check_extends(&older, &proof).map_err(|error| Failure::ledger(explain(&error)))?;
    }
    let text = newest.note.to_string();
    context.home.remember_checkpoint(&text)?;
    if context.output.json {
        return context.output.json(&serde_json::json!({
            "origin": newest.checkpoint.origin, "size": newest.checkpoint.size, "root": newest.checkpoint.root.to_string(), "note": text,
        }));
    }
    context.output.bytes(text.as_bytes())
}

async fn prove(context: &Context, args: cli::LedgerProve) -> Result<(), Failure> {
    let key = key(context, None)?;
    let answer: dto::LedgerProof = context.client()?.get(&format!("/ledger/proof/{}", args.index), &[]).await?;
    let proof = EntryProof::parse(answer.proof.as_bytes()).map_err(|error| Failure::ledger(explain(&error)))?;
    let proved = proof.verify(&[key]).map_err(|error| Failure::ledger(explain(&error)))?;
    if proved.entry.index != args.index {
        return Err(Failure::ledger(format_args!("asked for entry {}, got a proof of entry {}", args.index, proved.entry.index)));
    }
    if let Some(out) = &args.out {
        std::fs::write(out, &answer.proof).map_err(|error| Failure::local(&format!("writing {}", out.display()), &error))?;
    }
    if context.output.json {
        return context.output.json(&serde_json::json!({
            "index": args.index, "kind": proved.entry.kind, "stream": proved.entry.stream, "size": proved.checkpoint.checkpoint.size, "proof": answer.proof,
        }));
    }
    let entry = &proved.entry;
    context.output.note(format!(
        "proved: entry {} is `{}` of {} under the checkpoint of {} entries",
        entry.index, entry.kind, entry.stream, proved.checkpoint.checkpoint.size
    ));
    if args.out.is_none() { context.output.bytes(answer.proof.as_bytes()) } else { Ok(()) }
}

async fn tail(context: &Context, args: cli::LedgerTail) -> Result<(), Failure> {
    let client = context.client()?;
    // Listening begins before reading, so that nothing falls between.
    let mut news = if args.follow { Some(client.follow("/events").await?) } else { None };
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.from.map(|from| ("from", from.to_string())));
    let mut lines: Vec<dto::LedgerLine> = client.get("/ledger", &query).await?;
    let mut next = args.from.unwrap_or(0);
    loop {
        for line in &lines {
            next = line.index + 1;
            if context.output.json {
                context.output.json_line(line)?;
            }
        }
        if !context.output.json && !lines.is_empty() {
            context.output.table(&[], &lines.iter().map(row).collect::<Vec<_>>(), "")?;
        }
        let Some(response) = &mut news else { return Ok(()) };
        if response.chunk().await.map_err(|error| client.broken(&error))?.is_none() {
            return Ok(());
        }
        lines = client.get("/ledger", &[("from", next.to_string()), ("limit", ENTRIES.to_string())]).await?;
    }
}

fn row(line: &dto::LedgerLine) -> Vec<String> {
    let mut event = line.event.clone().unwrap_or_default();
    if let Some(event) = event.as_object_mut() {
        event.retain(|key, _| !matches!(key.as_str(), "type" | "at" | "envelope" | "decision"));
    }
    let text = if event.as_object().is_none_or(serde_json::Map::is_empty) { String::new() } else { event.to_string() };
    let text = if text.chars().count() > 120 { format!("{}…", text.chars().take(120).collect::<String>()) } else { text };
    vec![format!("#{}", line.index), cell(&line.kind), cell(&line.stream), when_short(&line.at), cell(text)]
}

async fn export(context: &Context, dir: &Path) -> Result<(), Failure> {
    let key = key(context, None)?;
    let client = context.client()?;
    let writing = |error: std::io::Error| Failure::local(&format!("writing to {}", dir.display()), &error);
    std::fs::create_dir_all(dir).map_err(writing)?;
    if std::fs::read_dir(dir).map_err(writing)?.next().is_some() {
        return Err(Failure::usage(format!("`{}` is not empty", dir.display())).next("name a directory that does not exist yet"));
    }
    let note = client.bytes("/ledger/checkpoint", safeconduct_ledger::MAX_NOTE_BYTES).await?;
    let note = note.ok_or_else(|| Failure::ledger("there is no checkpoint yet"))?;
    let size = open(&note, &key, "the checkpoint")?.checkpoint.size;
    let write = |path: &str, bytes: &[u8]| {
        let file = dir.join(path);
        file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, bytes)).map_err(writing)
    };
    for wanted in tile::tiles_for(size) {
        let (path, bytes) = fetch_tile(&client, wanted).await?.ok_or_else(|| Failure::ledger(format_args!("{wanted}: missing")))?;
        write(&path.to_string(), &bytes)?;
    }
    let bodies = export_bodies(context, size, &write).await?;
    write("checkpoint", &note)?;
    let report = verify_log(&mut Directory::new(dir), std::slice::from_ref(&key), &[]).map_err(Failure::ledger)?;
    if !bodies {
        context.output.note("without bodies: you may not read them");
    }
    context.output.note(format!(
        "verify it anywhere: safeconduct-verify {} --vkey '{}'",
        dir.display(),
        context.home.profile()?.map(|p| p.ledger_key).unwrap_or_default()
    ));
    show(context, &report)
}

/// Writes the bodies of the first `size` entries; false if the caller may not read them.
async fn export_bodies(context: &Context, size: u64, write: &impl Fn(&str, &[u8]) -> Result<(), Failure>) -> Result<bool, Failure> {
    let client = context.client()?;
    let (mut from, mut lines): (u64, Vec<u8>) = (0, Vec::new());
    while from < size {
        // Never across the end of a file of bodies.
        let limit = ENTRIES.min(size - from).min(256 - from % 256);
        let page: Result<Vec<dto::LedgerEntry>, Failure> =
            client.get("/ledger/entries", &[("from", from.to_string()), ("limit", limit.to_string())]).await;
        let page = match page {
            Err(failure) if failure.code == "VIEW-001" => return Ok(false),
            page => page?,
        };
        if page.is_empty() {
            return Err(Failure::ledger(format_args!("entry {from} is missing")));
        }
        for entry in &page {
            let body: Option<StoredBody> = entry.stored_body().map_err(|error| Failure::nonsense(error.to_string()))?;
            if let Some(body) = body {
                lines.extend_from_slice(body.to_line().map_err(|error| Failure::ledger(explain(&error)))?.as_bytes());
                lines.push(b'\n');
            }
            from = entry.index + 1;
            if from.is_multiple_of(256) || from == size {
                write(&tile::bodies_path((from - 1) / 256), &std::mem::take(&mut lines))?;
            }
        }
    }
    Ok(true)
}
