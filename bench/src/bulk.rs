//! Bulk output: COPY TO STDOUT and SELECT of rows of 100 bytes and of 8 kilobytes, read by psql's own way to receive them and thrown away.

use std::time::Instant;

use crate::{
    Args,
    client::{Client, connector},
    figures::{head, median, processor_seconds, row, spread},
    stage::Stage,
};

pub async fn measure(stage: &Stage, args: &Args) {
    let tables = [("100 bytes", "rows_100", 96_u64), ("8 kilobytes", "rows_8k", 8000)];
    for (_, table, size) in tables {
        let rows = args.mebibytes * 1024 * 1024 / size;
        // Plain storage: neither compressed nor kept elsewhere.
        let _ = stage.server.psql_superuser(&format!(
            "CREATE UNLOGGED TABLE {table} (v text); ALTER TABLE {table} ALTER v SET STORAGE PLAIN, OWNER TO app;\n\
             INSERT INTO {table} SELECT repeat('x', {size}) FROM generate_series(1, {rows}); VACUUM ANALYZE {table};"
        ));
    }
    head(
        &format!("Bulk output of {} MiB: MiB per second", args.mebibytes),
        &[
            "rows, statement",
            "direct",
            "pgbouncer",
            "safeconduct",
            "÷ direct (range)",
            "pgbouncer ÷ direct",
            "CPU s/GiB pgbouncer",
            "safeconduct",
        ],
    );
    for (name, table, _) in tables {
        for (kind, text) in [("COPY", format!("COPY {table} TO STDOUT")), ("SELECT", format!("SELECT v FROM {table}"))] {
            let mut rates = vec![Vec::new(); stage.targets.len()];
            let mut processor = vec![Vec::new(); stage.targets.len()];
            for round in 0..=args.rounds.min(3) {
                for (place, target) in stage.targets.iter().enumerate() {
                    let mut client = Client::connect(target, &connector(target)).await;
                    let before = target.pid.map_or(0.0, processor_seconds);
                    let began = Instant::now();
                    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                    let mebibytes = client.run(&text).await as f64 / (1024.0 * 1024.0);
                    let took = began.elapsed().as_secs_f64();
                    client.end().await;
                    if round > 0 {
                        rates[place].push(mebibytes / took);
                        processor[place].push((target.pid.map_or(0.0, processor_seconds) - before) * 1024.0 / mebibytes);
                    }
                }
            }
            row(&[
                format!("{name}, {kind}"),
                format!("{:.0}", median(&rates[0])),
                format!("{:.0}", median(&rates[1])),
                format!("{:.0}", median(&rates[2])),
                spread(&rates[2], &rates[0]),
                spread(&rates[1], &rates[0]),
                format!("{:.2}", median(&processor[1])),
                format!("{:.2}", median(&processor[2])),
            ]);
        }
    }
}
