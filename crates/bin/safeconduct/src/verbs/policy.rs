//! `policy`: checking, testing and comparing bundles on this machine; explaining and applying on the server; facts about statements.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

use safeconduct_api::dto;
use safeconduct_model::Operation;
use safeconduct_policy::{Bundle, BundleFiles};
use safeconduct_sql::{FunctionClasses, PARSER_STACK_BYTES};

use super::{Context, local, show};
use crate::{
    cli::{self, Policy},
    failure::{Exit, Failure},
    waiting,
};

pub async fn run(context: &Context, verb: Policy) -> Result<(), Failure> {
    match verb {
        Policy::Check(args) => check(context, &args.dir),
        Policy::Test(args) => test(context, &args.dir),
        Policy::Explain(args) => explain(context, args).await,
        Policy::Plan(args) => plan(context, args).await,
        Policy::Apply(args) => apply(context, args).await,
        Policy::Facts(args) => facts(context, &args),
    }
}

/// Reads a bundle; every mistake is printed.
fn parse(context: &Context, dir: &Path) -> Result<(BundleFiles, Bundle), Failure> {
    let files = local::bundle(dir)?;
    match Bundle::parse(&files) {
        Ok(bundle) => Ok((files, bundle)),
        Err(problems) => {
            if context.output.json {
                let list: Vec<serde_json::Value> = problems
                    .iter()
                    .map(
                        |p| serde_json::json!({ "file": p.file, "line": p.line, "column": p.column, "message": p.message, "hint": p.hint }),
                    )
                    .collect();
                context.output.json_line(&serde_json::json!({ "problems": list }))?;
            } else {
                problems.iter().try_for_each(|problem| context.output.line(problem.to_string()))?;
            }
            Err(Failure::bundle(problems.len()))
        }
    }
}

fn check(context: &Context, dir: &Path) -> Result<(), Failure> {
    let (_, bundle) = parse(context, dir)?;
    // The gateway itself is always among the resources.
    let resources = bundle.resources.len().saturating_sub(1);
    if context.output.json {
        return context.output.json(&serde_json::json!({ "hash": bundle.hash, "resources": resources, "tests": bundle.tests.len() }));
    }
    context.output.line(format!("{}: {resources} resources, {} tests, no mistakes", bundle.hash, bundle.tests.len()))
}

fn test(context: &Context, dir: &Path) -> Result<(), Failure> {
    let (_, bundle) = parse(context, dir)?;
    let results = bundle.run_tests();
    let failed = results.iter().filter(|result| !result.passed()).count();
    if context.output.json {
        context.output.json(&serde_json::json!({ "failed": failed, "cases": results }))?;
    } else {
        for result in &results {
            context.output.line(format!(
                "{} {}:{} {}",
                if result.passed() { "ok  " } else { "FAIL" },
                result.file,
                result.line,
                result.name
            ))?;
            result.differences.iter().try_for_each(|difference| context.output.line(format!("       {difference}")))?;
            if !result.passed() {
                result.reasons.iter().try_for_each(|reason| context.output.line(format!("       because: {reason}")))?;
            }
        }
        context.output.line(format!("{} cases, {failed} failed", results.len()))?;
    }
    if failed == 0 { Ok(()) } else { Err(Failure::new("CLI-015", Exit::Error, format!("{failed} of {} cases failed", results.len()))) }
}

async fn explain(context: &Context, args: cli::PolicyExplain) -> Result<(), Failure> {
    let client = context.client()?;
    let question = dto::Explain {
        principal: args.principal,
        resource: args.resource,
        operations: args.operations.into_iter().collect(),
        exact: args.exact || args.text.is_some(),
        text: args.text,
        reason: args.reason.unwrap_or_default(),
        ticket: args.ticket,
        at: args.at,
        duration: args.duration,
        attributes: pairs("--attribute", &args.attributes)?,
        claims: pairs("--claim", &args.claims)?,
    };
    if question.text.is_some() || !question.operations.is_empty() {
        let answer: dto::ExplainAnswer = client.post("/policy/explain", &question).await?;
        return if context.output.json { context.output.json(&answer) } else { context.output.line(answer.text.trim_end()) };
    }
    let mut answers = Vec::new();
    for operation in alone(&question.resource) {
        let operations = [operation.name().to_owned()].into();
        let answer: dto::ExplainAnswer = client.post("/policy/explain", &dto::Explain { operations, ..question.clone() }).await?;
        if !context.output.json {
            // What concerns the operation begins with its name; before it the same is said in short.
            let about = format!("{operation}:");
            let lines: Vec<&str> = answer.text.lines().skip_while(|line| !line.starts_with(&about)).collect();
            context.output.line(if lines.is_empty() { format!("{about} {}", answer.text) } else { lines.join("\n") })?;
        }
        answers.push(answer);
    }
    if context.output.json { context.output.json(&answers) } else { Ok(()) }
}

/// `NAME=VALUE`, as often as it is given.
fn pairs(option: &str, given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("`{option} {text}`: write it as NAME=VALUE"))),
    };
    given.iter().map(pair).collect()
}

/// Operations to explain one by one when none is named.
fn alone(resource: &str) -> impl Iterator<Item = Operation> {
    let administration = resource == "safeconduct";
    let unheld = |operation: &Operation| matches!(operation, Operation::Connect | Operation::Unknown | Operation::Unrestricted);
    Operation::ALL.into_iter().filter(move |operation| operation.is_administration() == administration && !unheld(operation))
}

async fn plan(context: &Context, args: cli::PolicyPlan) -> Result<(), Failure> {
    let (files, bundle) = parse(context, &args.dir)?;
    let answer = if let Some(against) = &args.against {
        let (_, old) = parse(context, against)?;
        let plan = safeconduct_policy::plan(Some(&old), &bundle, &[]);
        let value = serde_json::to_value(&plan).map_err(|error| Failure::nonsense(error.to_string()))?;
        dto::PolicyPlan { text: plan.to_string(), changes: !plan.is_empty(), plan: value }
    } else {
        context.client()?.post("/policy/plan", &dto::PolicyFiles { files: texts(&files) }).await?
    };
    if context.output.json { context.output.json(&answer) } else { context.output.line(answer.text.trim_end()) }
}

async fn apply(context: &Context, args: cli::PolicyApply) -> Result<(), Failure> {
    let (files, _) = parse(context, &args.dir)?;
    let client = context.client()?;
    let asked: dto::AccessRequest = client.post("/policy", &dto::PolicyUpload { files: texts(&files), reason: args.reason }).await?;
    let asked = if args.wait { waiting::until_decided(&client, context.output, asked, &args.timeout).await? } else { asked };
    let asked = waiting::granted(asked)?;
    if context.output.json { context.output.json(&asked) } else { show::brief(context.output, &asked) }
}

/// Files as texts: a bundle that parsed is UTF-8.
fn texts(files: &BundleFiles) -> BTreeMap<String, String> {
    files.files.iter().map(|(path, bytes)| (path.clone(), String::from_utf8_lossy(bytes).into_owned())).collect()
}

/// One statement a line, understood as the gateway would.
fn facts(context: &Context, args: &cli::PolicyFacts) -> Result<(), Failure> {
    let cli::Kind::Postgres = args.kind;
    let reading = |error: std::io::Error| Failure::local(&format!("reading {}", args.file.display()), &error);
    let input: Box<dyn Read + Send> =
        if args.file.as_os_str() == "-" { Box::new(std::io::stdin()) } else { Box::new(std::fs::File::open(&args.file).map_err(reading)?) };
    let output = context.output;
    let understand = move || {
        let classes = FunctionClasses::default();
        for line in BufReader::new(input).lines() {
            let text = line.map_err(|error| Failure::local("reading statements", &error))?;
            if text.trim().is_empty() {
                continue;
            }
            let facts = safeconduct_sql::facts(&text, &classes);
            if output.json {
                let mut value = serde_json::to_value(&facts).map_err(|error| Failure::nonsense(error.to_string()))?;
                let (objects, functions) = used(&facts);
                value["text"] = text.into();
                value["objects"] = objects;
                value["functions"] = functions;
                output.json_line(&value)?;
                continue;
            }
            output.line(format!("{text}\n  {}", safeconduct_sql::summary_line(&facts)))?;
            for why in facts.statements.iter().flat_map(|statement| &statement.why) {
                output.line(format!("  {why}"))?;
            }
        }
        Ok(())
    };
    // A nesting bomb needs the parser's own stack.
    let thread = std::thread::Builder::new()
        .stack_size(PARSER_STACK_BYTES)
        .spawn(understand)
        .map_err(|error| Failure::local("starting the parser", &error))?;
    thread.join().unwrap_or_else(|_| Err(Failure::new("CLI-016", Exit::Error, "the parser failed").next("please report the statement")))
}

/// Objects and functions of all statements together.
fn used(facts: &safeconduct_sql::Facts) -> (serde_json::Value, serde_json::Value) {
    let objects: std::collections::BTreeSet<_> = facts.statements.iter().flat_map(|statement| &statement.objects).collect();
    let functions: std::collections::BTreeSet<_> = facts.statements.iter().flat_map(|statement| &statement.functions).collect();
    (serde_json::to_value(objects).unwrap_or_default(), serde_json::to_value(functions).unwrap_or_default())
}
