//! `receipt`: one access request with the proof of each of its steps, and of whose keys signed, verified here before it is handed on.

use std::collections::BTreeMap;

use safeconduct_api::dto;
use safeconduct_evidence::PublicKey;
use safeconduct_verify::{Receipt, ReceiptEntry, ReceiptRoster};

use super::{Context, access_request_id, ledger::key};
use crate::{cli, client::Client, failure::Failure};

pub async fn receipt(context: &Context, args: cli::Receipt) -> Result<(), Failure> {
    let client = context.client()?;
    let id = access_request_id(&args.id)?;
    let request: dto::AccessRequest = client.get(&format!("/access-requests/{id}"), &[]).await?;
    let (mut entries, mut rosters) = (Vec::new(), BTreeMap::new());
    for approval in request.approvals.iter().filter(|approval| approval.signed.is_some() && approval.roster.is_none()) {
        entries.extend(enrolment(&client, approval, &request).await?);
    }
    if request.approvals.iter().any(|approval| approval.roster.is_some()) {
        let in_force: Vec<dto::SignedRoster> = client.get(&format!("/access-requests/{id}/rosters"), &[]).await?;
        for roster in in_force {
            entries.push(entry(&client, roster.index).await?);
            rosters.insert(roster.digest, ReceiptRoster { text: roster.text, signatures: roster.signatures });
        }
    }
    for line in &request.history {
        entries.push(entry(&client, line.index).await?);
    }
    let v = if rosters.is_empty() { 1 } else { 2 };
    let receipt = Receipt { v, access_request: id.clone(), entries, rosters: rosters.into_values().collect() };
    // What would not hold is found out now, and not by whoever gets it. Root keys are theirs to give.
    let proved = receipt.verify(&[key(context, None)?], None).map_err(Failure::ledger)?;
    let text = serde_json::to_string(&receipt).map_err(|error| Failure::nonsense(error.to_string()))?;
    if let Some(out) = &args.out {
        std::fs::write(out, format!("{text}\n")).map_err(|error| Failure::local(&format!("writing {}", out.display()), &error))?;
        let signed = proved.approvals.iter().filter(|approval| approval.key.is_some()).count();
        context.output.note(format!(
            "{}: {} steps, {} approvals, {signed} of them signed; `safeconduct-verify receipt FILE --vkey KEY` checks it offline",
            out.display(),
            request.history.len(),
            proved.approvals.len(),
        ));
        return Ok(());
    }
    context.output.line(text)
}

async fn entry(client: &Client, index: u64) -> Result<ReceiptEntry, Failure> {
    let proof: dto::LedgerProof = client.get(&format!("/ledger/proof/{index}"), &[]).await?;
    let (Some(key), Some(body)) = (proof.key, proof.body) else {
        return Err(Failure::ledger(format_args!("entry {index} was erased: nothing can be shown of it")));
    };
    Ok(ReceiptEntry { index, proof: proof.proof, key, body })
}

/// The entry that enrolled the key of this approval before the asking, also if the key was removed or enrolled again since. Only who audits
/// may search for it.
async fn enrolment(client: &Client, approval: &dto::Approval, request: &dto::AccessRequest) -> Result<Option<ReceiptEntry>, Failure> {
    let this = |event: &serde_json::Value| {
        let key = event.get("key").and_then(serde_json::Value::as_str).and_then(|line| line.parse::<PublicKey>().ok());
        key.is_some_and(|key| Some(key.fingerprint()) == approval.key)
    };
    let mut before = request.history.first().map(|asking| asking.index);
    loop {
        let mut query = vec![("kind", "key_enrolled".to_owned()), ("person", approval.approver.clone()), ("limit", "100".to_owned())];
        query.extend(before.map(|before: u64| ("before", before.to_string())));
        let page: dto::LedgerFound = client.get("/ledger/search", &query).await?;
        let found = page.entries.iter().find(|found| found.entry.event.as_ref().is_some_and(this));
        match (found, page.next) {
            (Some(found), _) => return Ok(Some(entry(client, found.entry.index).await?)),
            // Every page reaches further back, so this ends.
            (None, Some(next)) => before = Some(next),
            (None, None) => return Ok(None),
        }
    }
}
