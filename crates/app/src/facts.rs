//! Facts by text: parsed on threads with big stacks, kept for texts that come again.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
};

use parking_lot::Mutex;
use safeconduct_model::{Digest, Operation, Resource};
use safeconduct_sql::Facts;
use safeconduct_sql::{FunctionClasses, PARSER_STACK_BYTES};

/// Texts longer than this are parsed each time.
const CACHED_TEXT_BYTES: usize = 16 * 1024;
/// Most texts kept.
const CACHED_TEXTS: usize = 4096;
/// Parser threads: one bomb leaves the others to everybody else.
const THREADS: usize = 4;

type Job = (String, Arc<FunctionClasses>, mpsc::SyncSender<Facts>);

/// Facts with the classes they were made with: while they are kept, no other classes can have the same address.
type Cached = (Arc<FunctionClasses>, Arc<Facts>);

/// Parses and remembers.
pub(crate) struct FactsService {
    jobs: mpsc::SyncSender<Job>,
    cache: Mutex<HashMap<(Digest, usize), Cached>>,
}

impl FactsService {
    /// Starts the parser threads. They end with the service.
    pub fn start() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(64);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("sql-parser-{number}")).stack_size(PARSER_STACK_BYTES).spawn(move || {
                loop {
                    let Ok((text, functions, answer)) = queue.lock().recv() else { return };
                    // Nobody waiting any more is no error.
                    let parsed = std::panic::catch_unwind(|| safeconduct_sql::facts(&text, &functions));
                    if let Ok(facts) = parsed {
                        let _ = answer.send(facts);
                    } else {
                        // Dropping the answer says `unknown`; the thread goes on for others.
                        tracing::error!("the parser failed on a text");
                    }
                }
            })?;
        }
        Ok(Self { jobs, cache: Mutex::new(HashMap::new()) })
    }

    /// Facts of a text for a resource. Blocks for the length of a parse. What can't be parsed is `unknown`.
    pub fn facts(&self, text: &str, functions: &Arc<FunctionClasses>) -> Arc<Facts> {
        let key = (Digest::of_bytes(text.as_bytes()), Arc::as_ptr(functions) as usize);
        let cached = text.len() <= CACHED_TEXT_BYTES;
        if cached && let Some((_, facts)) = self.cache.lock().get(&key) {
            return Arc::clone(facts);
        }
        let (answer, wait) = mpsc::sync_channel(1);
        let parsed = self.jobs.send((text.to_owned(), Arc::clone(functions), answer)).ok().and_then(|()| wait.recv().ok());
        let facts = Arc::new(parsed.unwrap_or_else(|| Facts {
            statements: Vec::new(),
            operations: [Operation::Unknown].into_iter().collect(),
            unparsable: Some("the parser is not available".to_owned()),
        }));
        if cached && facts.unparsable.is_none() {
            let mut cache = self.cache.lock();
            if cache.len() >= CACHED_TEXTS {
                cache.clear();
            }
            cache.insert(key, (Arc::clone(functions), Arc::clone(&facts)));
        }
        facts
    }
}

/// The classes a resource file gives to functions of its own.
pub(crate) fn function_classes(resource: &Resource) -> FunctionClasses {
    let Some(postgres) = resource.postgres() else { return FunctionClasses::default() };
    let mut classes = FunctionClasses::new(postgres.search_path.iter().cloned());
    for (function, operation) in &postgres.functions {
        // The bundle was checked when it was parsed; an entry that can't be used leaves its function unknown.
        if classes.insert(function, *operation).is_err() {
            tracing::warn!(resource = %resource.name, %function, "unusable function class");
        }
    }
    classes
}
