//! A thousand idle sessions, and starting on an existing store.

use crate::{
    client::{Client, connector},
    figures::{head, median, resident_mebibytes, row},
    stage::Stage,
};

const SESSIONS: u32 = 1000;

pub async fn measure(stage: &mut Stage) {
    head("Memory and start", &["what", "figure"]);
    let before = resident_mebibytes(stage.node.pid());
    let connector = connector(&stage.targets[2]);
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let mut client = Client::connect(&stage.targets[2], &connector).await;
        client.run("SELECT 1").await;
        clients.push(client);
    }
    let after = resident_mebibytes(stage.node.pid());
    row(&[format!("resident with {SESSIONS} idle sessions"), format!("{after:.0} MiB")]);
    row(&["the same without sessions".to_owned(), format!("{before:.0} MiB")]);
    row(&["per session".to_owned(), format!("{:.0} KiB", (after - before) * 1024.0 / f64::from(SESSIONS))]);
    drop(clients);
    let starts: Vec<f64> = (0..7).map(|_| stage.node.restart().as_secs_f64() * 1000.0).collect();
    row(&["from start to listening on an existing store".to_owned(), format!("{:.0} ms", median(&starts))]);
}
