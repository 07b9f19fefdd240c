//! The paths under `/scim/v2`. Every one of them needs the token, the descriptions of the server too.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, Path, Query as Parameters, Request, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use safeconduct_app::{App, Provisioned, ProvisionedGroup, Provisioner};
use safeconduct_model::{Digest, GroupName, PrincipalName, Timestamp};
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use zeroize::Zeroizing;

use crate::{
    BODY_BYTES,
    answer::{ALWAYS, Refused, scim},
    discovery, filter, groups,
    lists::{Query, Search, Selection},
    patch, people,
    settings::{WeakToken, digest_of},
};

/// Calls at one time. More are told to come back.
const AT_ONCE: usize = 32;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(60);
/// Where all of it is.
const BASE: &str = "/scim/v2";

/// Who may call, and as which source.
pub struct Guard {
    provisioner: Provisioner,
    token: Digest,
}

impl Guard {
    /// Whoever shows this token speaks for this source. The token itself is not kept.
    ///
    /// # Errors
    /// [`WeakToken`] for one that could be guessed.
    pub fn new(provisioner: Provisioner, token: &Zeroizing<String>) -> Result<Self, WeakToken> {
        Ok(Self { provisioner, token: digest_of(token)? })
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = shown.and_then(|shown| shown.split_once(' ')) else { return false };
        let same: bool = Digest::of_bytes(token.as_bytes()).as_bytes().ct_eq(self.token.as_bytes()).into();
        scheme.eq_ignore_ascii_case("Bearer") && same
    }
}

struct Shared {
    app: App,
    guard: Guard,
    /// The address of this server, for `location`.
    base: String,
    room: Semaphore,
}

type Server = State<Arc<Shared>>;
type Answer = Result<Response, Refused>;

/// The router of `/scim/v2`. `public_url` is where the gateway is found.
pub fn router(app: App, guard: Guard, public_url: &str) -> Router {
    let base = format!("{}{BASE}", public_url.trim_end_matches('/'));
    let shared = Arc::new(Shared { app, guard, base, room: Semaphore::new(AT_ONCE) });
    let routes = Router::new()
        .route("/ServiceProviderConfig", get(service_provider_config))
        .route("/ResourceTypes", get(resource_types))
        .route("/ResourceTypes/{id}", get(resource_type))
        .route("/Schemas", get(schemas))
        .route("/Schemas/{id}", get(schema))
        .route("/Users", get(list_people).post(create_person))
        .route("/Users/{id}", get(show_person).put(put_person).patch(patch_person).delete(delete_person))
        .route("/Users/.search", post(search_people))
        .route("/Groups/.search", post(search_groups))
        .route("/.search", post(search_all))
        .route("/Groups", get(list_groups).post(create_group))
        .route("/Groups/{id}", get(show_group).put(put_group).patch(patch_group).delete(delete_group))
        .route("/Bulk", post(not_here))
        .route("/Me", get(not_here))
        .fallback(|| async { Refused::not_found() })
        .method_not_allowed_fallback(|| async { Refused::new(StatusCode::METHOD_NOT_ALLOWED, None, "this path does not take this method") })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&shared), around))
        .layer(CatchPanicLayer::custom(|_| -> Response {
            Refused::new(StatusCode::INTERNAL_SERVER_ERROR, None, "the gateway failed at this").into_response()
        }))
        .with_state(shared);
    Router::new().nest(BASE, routes)
}

/// Nobody gets further without the token. A page of ours never calls here: cookies count for nothing.
async fn around(State(shared): Server, request: Request, next: Next) -> Response {
    let response = if !shared.guard.admits(request.headers()) {
        tracing::warn!(provider = shared.guard.provisioner.name, "a SCIM call without the right token");
        Refused::new(StatusCode::UNAUTHORIZED, None, "the token is missing or wrong").into_response()
    } else if let Ok(_place) = shared.room.try_acquire() {
        let late = Refused::new(StatusCode::GATEWAY_TIMEOUT, None, "the gateway did not answer in time; whether it was done is not known");
        tokio::time::timeout(CALL, next.run(request)).await.unwrap_or_else(|_| late.into_response())
    } else {
        Refused::new(StatusCode::TOO_MANY_REQUESTS, None, "too many calls at once").into_response()
    };
    with_headers(response)
}

fn with_headers(mut response: Response) -> Response {
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn not_here() -> Refused {
    Refused::new(StatusCode::NOT_IMPLEMENTED, None, "this server does not offer it")
}

// What the server is.

async fn service_provider_config(State(shared): Server) -> Response {
    scim(StatusCode::OK, &discovery::service_provider_config(&shared.base))
}

async fn resource_types(State(shared): Server, query: Result<Parameters<Query>, QueryRejection>) -> Answer {
    described(discovery::resource_types(&shared.base), query)
}

async fn resource_type(State(shared): Server, Path(id): Path<String>) -> Answer {
    one_of(discovery::resource_types(&shared.base), &id)
}

async fn schemas(State(shared): Server, query: Result<Parameters<Query>, QueryRejection>) -> Answer {
    described(discovery::schemas(&shared.base), query)
}

async fn schema(State(shared): Server, Path(id): Path<String>) -> Answer {
    one_of(discovery::schemas(&shared.base), &id)
}

fn described(all: Vec<Value>, query: Result<Parameters<Query>, QueryRejection>) -> Answer {
    let query = parameters(query)?;
    if query.filter.is_some() {
        // RFC 7644, section 4.
        return Err(Refused::new(StatusCode::FORBIDDEN, None, "what the server is can't be filtered"));
    }
    Ok(scim(StatusCode::OK, &query.page(&all, Value::clone)))
}

fn one_of(all: Vec<Value>, id: &str) -> Answer {
    let found = all.iter().find(|one| one["id"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(id)));
    found.map(|one| scim(StatusCode::OK, one)).ok_or_else(Refused::not_found)
}

// People.

async fn list_people(State(shared): Server, query: Result<Parameters<Query>, QueryRejection>) -> Answer {
    listed_people(&shared, &parameters(query)?)
}

async fn search_people(State(shared): Server, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Answer {
    listed_people(&shared, &search(&headers, body)?)
}

fn listed_people(shared: &Shared, query: &Query) -> Answer {
    let selection = query.selection()?;
    let filter = query.filter.as_deref().map(filter::read).transpose()?;
    let source = &shared.guard.provisioner;
    let mut people = match filter.as_ref().and_then(filter::is_user_name) {
        Some(user_name) => shared.app.provisioned_as(source, user_name).into_iter().collect(),
        None => shared.app.provisioned_people(source),
    };
    if let Some(filter) = &filter {
        people = keep(people, |person| filter::matches(filter, &shared.person(person)))?;
    }
    Ok(scim(StatusCode::OK, &query.page(&people, |person| selection.apply(shared.person(person)))))
}

async fn show_person(
    State(shared): Server,
    Path(id): Path<String>,
    query: Result<Parameters<Query>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let selection = parameters(query)?.selection()?;
    let person = shared.app.provisioned_person(&shared.guard.provisioner, &person_id(&id)?).ok_or_else(Refused::not_found)?;
    Ok(shown(StatusCode::OK, shared.person(&person), &selection, Some(&headers)))
}

async fn create_person(
    State(shared): Server,
    query: Result<Parameters<Query>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let selection = parameters(query)?.selection()?;
    let said = people::read(json(&headers, body)?, None)?;
    let person = shared.app.provision_person(&shared.guard.provisioner, said).await?;
    Ok(shown(StatusCode::CREATED, shared.person(&person), &selection, None))
}

async fn put_person(
    State(shared): Server,
    Path(id): Path<String>,
    query: Result<Parameters<Query>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let (selection, name, body) = (parameters(query)?.selection()?, person_id(&id)?, json(&headers, body)?);
    let change = |before: &Provisioned| {
        as_expected(&headers, &shared.person(before))?;
        people::read(body, Some(before))
    };
    let person = shared.app.reprovision_person(&shared.guard.provisioner, &name, change).await?;
    Ok(shown(StatusCode::OK, shared.person(&person), &selection, None))
}

async fn patch_person(
    State(shared): Server,
    Path(id): Path<String>,
    query: Result<Parameters<Query>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let (selection, name) = (parameters(query)?.selection()?, person_id(&id)?);
    let changes = patch::read(json(&headers, body)?)?;
    let change = |before: &Provisioned| {
        as_expected(&headers, &shared.person(before))?;
        let mut said = before.said.clone();
        changes.into_iter().try_for_each(|change| people::patch(&mut said, change))?;
        Ok::<_, Refused>(said)
    };
    let person = shared.app.reprovision_person(&shared.guard.provisioner, &name, change).await?;
    Ok(shown(StatusCode::OK, shared.person(&person), &selection, None))
}

async fn delete_person(State(shared): Server, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let check = |before: &Provisioned| as_expected(&headers, &shared.person(before));
    shared.app.unprovision_person(&shared.guard.provisioner, &person_id(&id)?, check).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

// Groups.

async fn list_groups(State(shared): Server, query: Result<Parameters<Query>, QueryRejection>) -> Answer {
    listed_groups(&shared, &parameters(query)?)
}

async fn search_groups(State(shared): Server, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Answer {
    listed_groups(&shared, &search(&headers, body)?)
}

fn listed_groups(shared: &Shared, query: &Query) -> Answer {
    let selection = query.selection()?;
    let mut all = shared.app.provisioned_groups(&shared.guard.provisioner);
    if let Some(filter) = query.filter.as_deref().map(filter::read).transpose()? {
        all = keep(all, |group| filter::matches(&filter, &shared.group(group)))?;
    }
    Ok(scim(StatusCode::OK, &query.page(&all, |group| selection.apply(shared.group(group)))))
}

async fn show_group(
    State(shared): Server,
    Path(id): Path<String>,
    query: Result<Parameters<Query>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let selection = parameters(query)?.selection()?;
    let group = shared.app.provisioned_group(&shared.guard.provisioner, &group_id(&id)?).ok_or_else(Refused::not_found)?;
    Ok(shown(StatusCode::OK, shared.group(&group), &selection, Some(&headers)))
}

async fn create_group(
    State(shared): Server,
    query: Result<Parameters<Query>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let selection = parameters(query)?.selection()?;
    let said = groups::read(json(&headers, body)?)?;
    let group = shared.app.provision_group(&shared.guard.provisioner, said).await?;
    Ok(shown(StatusCode::CREATED, shared.group(&group), &selection, None))
}

async fn put_group(
    State(shared): Server,
    Path(id): Path<String>,
    query: Result<Parameters<Query>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let (selection, name) = (parameters(query)?.selection()?, group_id(&id)?);
    let said = groups::read(json(&headers, body)?)?;
    let change = |before: &ProvisionedGroup| as_expected(&headers, &shared.group(before)).map(|()| said);
    let group = shared.app.reprovision_group(&shared.guard.provisioner, &name, change).await?;
    Ok(shown(StatusCode::OK, shared.group(&group), &selection, None))
}

async fn patch_group(
    State(shared): Server,
    Path(id): Path<String>,
    query: Result<Parameters<Query>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let (selection, name) = (parameters(query)?.selection()?, group_id(&id)?);
    let changes = patch::read(json(&headers, body)?)?;
    let change = |before: &ProvisionedGroup| {
        as_expected(&headers, &shared.group(before))?;
        let mut said = before.said.clone();
        changes.into_iter().try_for_each(|change| groups::patch(&mut said, change))?;
        Ok::<_, Refused>(said)
    };
    let group = shared.app.reprovision_group(&shared.guard.provisioner, &name, change).await?;
    Ok(shown(StatusCode::OK, shared.group(&group), &selection, None))
}

async fn delete_group(State(shared): Server, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let check = |before: &ProvisionedGroup| as_expected(&headers, &shared.group(before));
    shared.app.unprovision_group(&shared.guard.provisioner, &group_id(&id)?, check).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// People and groups together, people first.
async fn search_all(State(shared): Server, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Answer {
    let query = search(&headers, body)?;
    let selection = query.selection()?;
    let source = &shared.guard.provisioner;
    let people = shared.app.provisioned_people(source).into_iter().map(|person| shared.person(&person));
    let mut all: Vec<_> = people.chain(shared.app.provisioned_groups(source).iter().map(|group| shared.group(group))).collect();
    if let Some(filter) = query.filter.as_deref().map(filter::read).transpose()? {
        all = keep(all, |resource| filter::matches(&filter, resource))?;
    }
    Ok(scim(StatusCode::OK, &query.page(&all, |resource| selection.apply(resource.clone()))))
}

impl Shared {
    fn person(&self, person: &Provisioned) -> Map<String, Value> {
        let about = Meta {
            kind: "User",
            place: format!("{}/Users/{}", self.base, person.name),
            since: person.since,
            changed_at: person.changed_at,
        };
        about.add_to(people::write(person, &self.base))
    }

    fn group(&self, group: &ProvisionedGroup) -> Map<String, Value> {
        let about = Meta {
            kind: "Group",
            place: format!("{}/Groups/{}", self.base, group.group),
            since: group.since,
            changed_at: group.changed_at,
        };
        about.add_to(groups::write(group, &self.base))
    }
}

struct Meta {
    kind: &'static str,
    place: String,
    since: Timestamp,
    changed_at: Timestamp,
}

impl Meta {
    /// The version is what the resource says: who reads the same has the same version.
    fn add_to(self, mut resource: Map<String, Value>) -> Map<String, Value> {
        let bytes = serde_json::to_vec(&resource).unwrap_or_default();
        let version: String = Digest::of_bytes(&bytes).as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let meta = json!({
            "resourceType": self.kind,
            "created": self.since.to_string(),
            "lastModified": self.changed_at.to_string(),
            "location": self.place,
            "version": format!("W/\"{version}\""),
        });
        resource.insert("meta".to_owned(), meta);
        resource
    }
}

/// One resource with its version and place; nothing but that if the caller has this version.
fn shown(status: StatusCode, resource: Map<String, Value>, selection: &Selection, asked: Option<&HeaderMap>) -> Response {
    let (version, place) = (meta(&resource, "version"), meta(&resource, "location"));
    let known = asked.and_then(|headers| headers.get(header::IF_NONE_MATCH)).is_some_and(|known| names(known, &version));
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { scim(status, &selection.apply(resource)) };
    for (name, value) in [(header::ETAG, version), (header::LOCATION, place)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn meta(resource: &Map<String, Value>, name: &str) -> String {
    resource.get("meta").and_then(|meta| meta.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Refuses if the caller means another version than there is.
fn as_expected(headers: &HeaderMap, resource: &Map<String, Value>) -> Result<(), Refused> {
    match headers.get(header::IF_MATCH) {
        Some(expected) if !names(expected, &meta(resource, "version")) => Err(Refused::moved_on()),
        _ => Ok(()),
    }
}

/// True if a list of versions names this one. Weak and strong are compared alike: sources keep what `meta.version` says.
fn names(list: &HeaderValue, version: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    let list = list.to_str().unwrap_or_default();
    list.trim() == "*" || list.split(',').any(|one| bare(one) == bare(version))
}

fn keep<T>(all: Vec<T>, mut wanted: impl FnMut(&T) -> Result<bool, Refused>) -> Result<Vec<T>, Refused> {
    let mut kept = Vec::new();
    for one in all {
        if wanted(&one)? {
            kept.push(one);
        }
    }
    Ok(kept)
}

fn parameters(query: Result<Parameters<Query>, QueryRejection>) -> Result<Query, Refused> {
    query.map(|Parameters(query)| query).map_err(|_| Refused::value("the parameters can't be read"))
}

fn search(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Query, Refused> {
    let search: Search = serde_json::from_value(json(headers, body)?).map_err(|_| Refused::syntax("the search can't be read"))?;
    Ok(search.into())
}

/// A body, whose length was bounded before.
fn json(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Value, Refused> {
    let body = body.map_err(|rejection| Refused::new(rejection.status(), None, "the body is too large, or could not be read"))?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !["application/scim+json", "application/json"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, "the body must be `application/scim+json`"));
    }
    serde_json::from_slice(&body).map_err(|_| Refused::syntax("the body is not JSON"))
}

/// What can't be a name is nobody's.
fn person_id(id: &str) -> Result<PrincipalName, Refused> {
    id.parse().map_err(|_| Refused::not_found())
}

fn group_id(id: &str) -> Result<GroupName, Refused> {
    id.parse().map_err(|_| Refused::not_found())
}
