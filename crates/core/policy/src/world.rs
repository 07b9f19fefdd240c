//! The world as Cedar sees it: entities and context of one question. Translates; never decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::LazyLock,
};

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value, Schema};
use jiff::{civil::Weekday, tz::TimeZoneDatabase};
use safeconduct_model::{Asked, GroupName, Operation, Principal, PrincipalKind, PrincipalName, Resource, ResourceKind};

use crate::evaluation::{ApprovalQuestion, AskedContext, Evaluation, FactsContext, NowContext};

/// Everything about one question but the action and the approvals.
pub(crate) struct World<'a> {
    schema: &'a Schema,
    entities: Entities,
    principal: EntityUid,
    resource: EntityUid,
    context: Vec<(String, Value)>,
}

/// A question that could not be put to Cedar. Always a denial.
#[derive(Debug)]
pub(crate) struct Unanswerable(pub String);

impl<'a> World<'a> {
    /// The world of an evaluation, seen by operations on a resource or on the gateway.
    pub(crate) fn of(evaluation: &Evaluation<'_>, schema: &'a Schema, zones: &TimeZoneDatabase) -> Result<Self, Unanswerable> {
        let gateway = matches!(evaluation.resource.kind, ResourceKind::Safeconduct);
        let mut now = moment(evaluation.now, evaluation.resource, zones)?;
        if gateway {
            now.push(("other_administrators".to_owned(), Value::new_long(i64::from(evaluation.now.other_administrators))));
        } else if let Some(facts) = &evaluation.now.facts {
            now.push(("facts".to_owned(), self::facts(facts)?));
        }
        let context = vec![
            ("exact".to_owned(), Value::new_bool(evaluation.exact)),
            ("asked".to_owned(), asked(evaluation.asked)?),
            ("now".to_owned(), record(now)?),
        ];
        let (principal, resource) = (principal_uid(evaluation.principal)?, resource_uid(evaluation.resource)?);
        let entities = vec![principal_entity(evaluation.principal)?, resource_entity(evaluation.resource)?];
        let entities = Entities::from_entities(entities, Some(schema)).map_err(unanswerable)?;
        Ok(Self { schema, entities, principal, resource, context })
    }

    /// The world of an approval question.
    pub(crate) fn of_approval(question: &ApprovalQuestion<'_>, schema: &'a Schema, zones: &TimeZoneDatabase) -> Result<Self, Unanswerable> {
        let target = resource_uid(question.resource)?;
        let mut attributes = vec![
            ("requester".to_owned(), text(question.requester.name.as_str())),
            ("requester_kind".to_owned(), text(kind_name(question.requester.kind))),
            ("requester_groups".to_owned(), groups(question.requester.groups.keys())?),
            ("operations".to_owned(), Value::new_set(question.operations.iter().map(|operation| text(operation.name())))),
            ("exact".to_owned(), Value::new_bool(question.exact)),
        ];
        if !matches!(question.resource.kind, ResourceKind::Safeconduct) {
            attributes.push(("target".to_owned(), Value::new_entity_uid(target.clone())));
        }
        if let Some(department) = &question.requester.department {
            attributes.push(("requester_department".to_owned(), text(department)));
        }
        attributes.extend(question.requester.attributes.iter().map(|(name, value)| (format!("requester_{}", name.name()), text(value))));
        if let Some(manager) = question.requester_manager {
            attributes.push(("requester_manager".to_owned(), person(manager)?));
        }
        if let Some(facts) = question.facts {
            attributes.push(("facts".to_owned(), self::facts(facts)?));
        }
        let resource = uid("AccessRequest", "this")?;
        let asked = Entity::new_with_tags(resource.clone(), attributes, [target], []).map_err(unanswerable)?;
        let entities = vec![principal_entity(question.approver)?, resource_entity(question.resource)?, asked];
        let entities = Entities::from_entities(entities, Some(schema)).map_err(unanswerable)?;
        let context = vec![("now".to_owned(), record(moment(question.now, question.resource, zones)?)?)];
        Ok(Self { schema, entities, principal: principal_uid(question.approver)?, resource, context })
    }

    /// The entities of the question, actions included.
    pub(crate) const fn entities(&self) -> &Entities {
        &self.entities
    }

    /// One operation with these approvals.
    pub(crate) fn ask(&self, operation: Operation, count: u32, approved_by: &BTreeSet<GroupName>) -> Result<Request, Unanswerable> {
        let mut context = self.context.clone();
        context.push(("approvals".to_owned(), Value::new_long(i64::from(count))));
        context.push(("approved_by".to_owned(), groups(approved_by)?));
        self.request(operation.name(), context)
    }

    /// Settling the access request.
    pub(crate) fn ask_approve(&self) -> Result<Request, Unanswerable> {
        self.request("approve", self.context.clone())
    }

    fn request(&self, action: &str, context: Vec<(String, Value)>) -> Result<Request, Unanswerable> {
        let context = Context::from_pairs(context).map_err(unanswerable)?;
        Request::new(self.principal.clone(), uid("Action", action)?, self.resource.clone(), context, Some(self.schema))
            .map_err(unanswerable)
    }
}

fn unanswerable(error: impl std::fmt::Display) -> Unanswerable {
    Unanswerable(error.to_string())
}

pub(crate) fn uid(kind: &str, name: &str) -> Result<EntityUid, Unanswerable> {
    /// Names of kinds are read by Cedar's parser, which takes longer than most questions.
    static KINDS: LazyLock<BTreeMap<&str, EntityTypeName>> = LazyLock::new(|| {
        let names = ["Action", "Person", "Workload", "Group", "Resource", "Gateway", "AccessRequest"];
        names.into_iter().filter_map(|name| Some((name, name.parse().ok()?))).collect()
    });
    let kind = KINDS.get(kind).ok_or_else(|| Unanswerable(format!("there is no kind `{kind}`")))?;
    Ok(EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(name)))
}

fn principal_uid(principal: &Principal) -> Result<EntityUid, Unanswerable> {
    let kind = match principal.kind {
        PrincipalKind::Person => "Person",
        PrincipalKind::Workload => "Workload",
    };
    uid(kind, principal.name.as_str())
}

const fn kind_name(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::Person => "person",
        PrincipalKind::Workload => "workload",
    }
}

fn principal_entity(principal: &Principal) -> Result<Entity, Unanswerable> {
    let parents = principal.groups.keys().map(|group| uid("Group", group.as_str())).collect::<Result<Vec<_>, _>>()?;
    let mut attributes = vec![("name".to_owned(), text(principal.name.as_str()))];
    // Only people answer to somebody; nothing describes workloads.
    if principal.kind == PrincipalKind::Person {
        if let Some(department) = &principal.department {
            attributes.push(("department".to_owned(), text(department)));
        }
        attributes.extend(principal.attributes.iter().map(|(name, value)| (name.name().to_owned(), text(value))));
        if let Some(manager) = &principal.manager {
            attributes.push(("manager".to_owned(), person(&manager.name)?));
        }
    }
    Entity::new_with_tags(principal_uid(principal)?, attributes, parents, []).map_err(unanswerable)
}

fn person(name: &PrincipalName) -> Result<Value, Unanswerable> {
    uid("Person", name.as_str()).map(Value::new_entity_uid)
}

fn resource_uid(resource: &Resource) -> Result<EntityUid, Unanswerable> {
    match resource.kind {
        ResourceKind::Safeconduct => uid("Gateway", Resource::SAFECONDUCT),
        ResourceKind::Postgres(_) => uid("Resource", resource.name.as_str()),
    }
}

fn resource_entity(resource: &Resource) -> Result<Entity, Unanswerable> {
    let mut attributes = BTreeMap::from([("name".to_owned(), text(resource.name.as_str()))]);
    if !matches!(resource.kind, ResourceKind::Safeconduct) {
        attributes.insert("kind".to_owned(), text(resource.kind.name()));
        attributes.insert(
            "labels".to_owned(),
            Value::new_set(resource.labels.iter().map(|(key, value)| Value::new_string(format!("{key}={value}")))),
        );
        attributes.insert("sensitivity".to_owned(), text(resource.sensitivity.name()));
        if let Some(owner) = &resource.owner {
            attributes.insert("owner".to_owned(), Value::new_entity_uid(uid("Group", owner.as_str())?));
        }
    }
    Entity::new_with_tags(resource_uid(resource)?, attributes, [], []).map_err(unanswerable)
}

fn text(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn texts<'t>(texts: impl IntoIterator<Item = &'t String>) -> Value {
    Value::new_set(texts.into_iter().map(|item| text(item)))
}

fn groups<'g>(groups: impl IntoIterator<Item = &'g GroupName>) -> Result<Value, Unanswerable> {
    let groups = groups.into_iter().map(|group| uid("Group", group.as_str()).map(Value::new_entity_uid)).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::new_set(groups))
}

fn record(fields: Vec<(String, Value)>) -> Result<Value, Unanswerable> {
    Value::new_record(fields).map_err(unanswerable)
}

fn address(source: IpAddr) -> Value {
    Value::new_ip(source.to_canonical().to_string())
}

fn asked(asked: &AskedContext) -> Result<Value, Unanswerable> {
    let mut fields = vec![
        ("reason".to_owned(), text(&asked.reason)),
        ("duration".to_owned(), Value::new_duration(format!("{}s", asked.duration.seconds()))),
        ("sign_in".to_owned(), text(&asked.sign_in)),
        // Ages beyond a century are a century: Cedar counts milliseconds in 64 bits.
        ("sign_in_age".to_owned(), Value::new_duration(format!("{}s", asked.sign_in_age_seconds.min(Asked::OLDEST_SIGN_IN_SECONDS)))),
        ("claims".to_owned(), texts(&asked.claims)),
    ];
    if let Some(ticket) = &asked.ticket {
        fields.push(("ticket".to_owned(), text(ticket)));
    }
    if let Some(source) = asked.source {
        fields.push(("source".to_owned(), address(source)));
    }
    record(fields)
}

/// Time and place of the decision. Seconds are whole: equal questions within one second have equal answers.
fn moment(now: &NowContext, resource: &Resource, zones: &TimeZoneDatabase) -> Result<Vec<(String, Value)>, Unanswerable> {
    let utc = jiff::Timestamp::from_second(now.time.micros().div_euclid(1_000_000)).map_err(unanswerable)?;
    let zone = zones.get(&resource.time_zone).map_err(unanswerable)?;
    let local = utc.to_zoned(zone);
    let mut fields = vec![
        ("time".to_owned(), Value::new_datetime(utc.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
        ("hour".to_owned(), Value::new_long(i64::from(local.hour()))),
        ("weekday".to_owned(), text(weekday(local.weekday()))),
    ];
    if let Some(source) = now.source {
        fields.push(("source".to_owned(), address(source)));
    }
    Ok(fields)
}

const fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "monday",
        Weekday::Tuesday => "tuesday",
        Weekday::Wednesday => "wednesday",
        Weekday::Thursday => "thursday",
        Weekday::Friday => "friday",
        Weekday::Saturday => "saturday",
        Weekday::Sunday => "sunday",
    }
}

fn facts(facts: &FactsContext) -> Result<Value, Unanswerable> {
    let mut fields = vec![
        ("statements".to_owned(), Value::new_long(i64::from(facts.statements))),
        ("commands".to_owned(), texts(&facts.commands)),
        ("objects".to_owned(), texts(&facts.objects)),
        ("functions".to_owned(), texts(&facts.functions)),
    ];
    if let Some(has_where) = facts.has_where {
        fields.push(("has_where".to_owned(), Value::new_bool(has_where)));
    }
    record(fields)
}
