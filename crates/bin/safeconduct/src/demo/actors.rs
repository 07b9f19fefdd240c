//! The actors: real command-line programs, run to their end or talked to line by line.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use super::stage::Stage;
use crate::failure::{Exit, Failure};

/// Longest time anything in the story may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command printed and how it ended.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs one person's command to its end.
pub async fn run(stage: &Stage, who: &str, arguments: &[&str]) -> Result<Said, Failure> {
    let mut command = command(stage, who, arguments);
    command.stdin(Stdio::null());
    let output = tokio::time::timeout(PATIENCE, command.output()).await.map_err(|_| failed(who, "did not finish in a minute"))?;
    let output = output.map_err(|e| Failure::local(who, &e))?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A program that is talked to: what it prints comes line by line, standard output and error together.
pub struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<String>,
    heard: Vec<String>,
}

impl Talk {
    /// Starts one person's command.
    pub fn start(stage: &Stage, who: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = command(stage, who, arguments);
        // A group of its own, as a terminal would give it: Ctrl-C reaches all of it.
        command.stdin(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|e| Failure::local(who, &e))?;
        let (send, lines) = mpsc::unbounded_channel();
        if let Some(out) = child.stdout.take() {
            listen(out, send.clone());
        }
        if let Some(err) = child.stderr.take() {
            listen(err, send);
        }
        let input = child.stdin.take();
        Ok(Self { child, input, lines, heard: Vec::new() })
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Types a line.
    pub async fn say(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or_else(|| failed("client", "is not listening"))?;
        input.write_all(format!("{line}\n").as_bytes()).await.map_err(|e| Failure::local("typing", &e))
    }

    /// Waits for a line that contains `text`; returns it.
    pub async fn hear(&mut self, text: &str) -> Result<String, Failure> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(deadline, self.lines.recv()).await {
                Ok(Some(line)) => {
                    println!("      │ {line}");
                    self.heard.push(line.clone());
                    if line.contains(text) {
                        return Ok(line);
                    }
                }
                Ok(None) => return Err(failed("client", &format!("ended without `{text}`; it said:\n{}", self.heard.join("\n")))),
                Err(_) => return Err(failed("client", &format!("never said `{text}`; it said:\n{}", self.heard.join("\n")))),
            }
        }
    }

    /// Waits until the program has ended; returns its exit code.
    pub async fn end(mut self) -> Result<i32, Failure> {
        drop(self.input.take());
        while let Some(line) = self.lines.recv().await {
            println!("      │ {line}");
        }
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.map_err(|_| failed("client", "did not end"))?;
        status.map(|status| status.code().unwrap_or(-1)).map_err(|e| Failure::local("client", &e))
    }
}

/// Measures from an act to a line heard.
pub async fn measure(talk: &mut Talk, text: &str, since: Instant) -> Result<(String, Duration), Failure> {
    let line = talk.hear(text).await?;
    Ok((line, since.elapsed()))
}

fn command(stage: &Stage, who: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(stage.commands().join(who));
    command.args(arguments).env("NO_COLOR", "1").env("PAGER", "cat").env("PSQLRC", "/dev/null");
    // Nothing of the caller's may reach the clients: the story is the same everywhere.
    for name in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGOPTIONS", "PGAPPNAME", "SAFECONDUCT_TOKEN"] {
        command.env_remove(name);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn listen(stream: impl AsyncRead + Unpin + Send + 'static, send: mpsc::UnboundedSender<String>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if send.send(line).is_err() {
                return;
            }
        }
    });
}

fn failed(who: &str, why: &str) -> Failure {
    Failure::new("DEMO-003", Exit::Error, format!("the story broke: {who} {why}"))
}
