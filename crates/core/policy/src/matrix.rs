//! Matrices: every principal, resource and operation in a few named circumstances, as one table. For golden files and for reading.

use std::fmt;

use safeconduct_model::{Operation, OperationSet, Principal, PrincipalName, ResourceName};

use crate::{
    bundle::Bundle,
    evaluation::{ApprovalQuestion, Approvals, AskedContext, Evaluation, NowContext},
    plan::summary,
};

/// One column: the circumstances every question is asked in.
#[derive(Clone, Debug)]
pub struct Circumstances {
    pub name: String,
    pub exact: bool,
    pub asked: AskedContext,
    pub now: NowContext,
}

/// Answers to every combination.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    pub approvals: Vec<ApprovalRow>,
}

/// The answers for one principal, resource and operation, one for each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub principal: PrincipalName,
    pub resource: ResourceName,
    pub operation: Operation,
    pub answers: Vec<String>,
}

/// Who may settle one principal's access requests for one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRow {
    pub requester: PrincipalName,
    pub resource: ResourceName,
    pub operation: Operation,
    pub approvers: Vec<PrincipalName>,
}

/// Puts every question to the bundle's policies: each operation that a resource's kind knows, for each principal, in each column.
#[must_use]
pub fn matrix(bundle: &Bundle, principals: &[Principal], circumstances: &[Circumstances]) -> Matrix {
    let mut matrix =
        Matrix { columns: circumstances.iter().map(|column| column.name.clone()).collect(), rows: Vec::new(), approvals: Vec::new() };
    for (name, resource) in &bundle.resources {
        let gateway = resource.postgres().is_none();
        let known = |operation: &Operation| operation.is_administration() == gateway && *operation != Operation::Connect;
        for operation in Operation::ALL.into_iter().filter(known) {
            let operations = OperationSet::from_iter([operation]);
            for principal in principals {
                let answers = circumstances.iter().map(|column| {
                    summary(&bundle.policy.decide(&Evaluation {
                        principal,
                        resource,
                        operations: &operations,
                        exact: column.exact,
                        asked: &column.asked,
                        now: &column.now,
                        approvals: Approvals::Unknown,
                    }))
                });
                let answers = answers.collect();
                matrix.rows.push(Row { principal: principal.name.clone(), resource: name.clone(), operation, answers });
                let Some(column) = circumstances.iter().find(|column| column.exact).or(circumstances.first()) else { continue };
                let may = |approver: &&Principal| {
                    let question = ApprovalQuestion {
                        approver,
                        requester: principal,
                        requester_manager: principal.manager.as_ref().map(|manager| &manager.name),
                        resource,
                        operations: &operations,
                        exact: column.exact,
                        facts: column.now.facts.as_ref(),
                        now: &column.now,
                    };
                    // Never one's own: no policy can lift that, so the table does not show what policy would say.
                    approver.name != principal.name && bundle.policy.may_approve(&question).0
                };
                let approvers = principals.iter().filter(may).map(|approver| approver.name.clone()).collect();
                matrix.approvals.push(ApprovalRow { requester: principal.name.clone(), resource: name.clone(), operation, approvers });
            }
        }
    }
    matrix
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let answers = self.rows.iter().filter_map(|row| row.answers.get(column)).map(|answer| answer.chars().count());
            answers.chain(self.columns.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        write!(f, "{:<12} {:<16} {:<12}", "resource", "operation", "principal")?;
        line(f, &self.columns, &widths)?;
        for row in &self.rows {
            write!(f, "{:<12} {:<16} {:<12}", row.resource, row.operation.name(), row.principal)?;
            line(f, &row.answers, &widths)?;
        }
        writeln!(f, "\n{:<12} {:<16} {:<12} may be approved by", "resource", "operation", "asked by")?;
        for row in &self.approvals {
            let approvers: Vec<&str> = row.approvers.iter().map(PrincipalName::as_str).collect();
            let approvers = if approvers.is_empty() { "nobody".to_owned() } else { approvers.join(", ") };
            writeln!(f, "{:<12} {:<16} {:<12} {approvers}", row.resource, row.operation.name(), row.requester)?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(&format!(" | {cell:<width$}"));
    }
    writeln!(f, "{}", text.trim_end())
}
