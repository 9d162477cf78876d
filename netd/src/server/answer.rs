//! A route's way: what was given → `Request` → the reconciler → `Reply` → JSON. Logs who changed what; decides nothing.

use std::future::{Ready, ready};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{RawPathParams, RawQuery, rejection::RawPathParamsRejection},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, MethodRouter},
};
use netd_api::{
    fault::{Code, Fault},
    message::{Reply, Request},
    policy::PolicyFiles,
};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    Limits,
    given::{self, Given},
    openapi,
    routes::{DOCUMENT, ROUTES, Route, paths},
};
use crate::reconciler::{Asker, Caller};

/// HTTP's word for each kind of refusal.
pub(super) fn http_status(code: Code) -> u16 {
    match code {
        Code::BadRequest => 400,
        Code::NotFound => 404,
        Code::Exists | Code::InUse | Code::SubnetOverlap | Code::Exhausted | Code::PortTaken | Code::BridgeFull => 409,
        Code::TooLarge => 413,
        Code::BadAddress | Code::BadNamespace | Code::BadInterface | Code::Impossible => 422,
        Code::Kernel | Code::Store => 500,
        Code::Unsupported => 501,
        Code::Unavailable => 503,
    }
}

/// All paths of the API.
pub(super) fn router(asker: &Asker, limits: Limits) -> Router {
    let mut router = Router::new();
    for path in paths() {
        let mut methods = MethodRouter::new();
        let mut known = Vec::new();
        for route in ROUTES.iter().filter(|route| route.path == path) {
            let asker = asker.clone();
            let limits = Limits { body: route.takes.as_ref().and_then(|body| body.most).unwrap_or(limits.body), ..limits };
            let serve = move |Extension(caller): Extension<Caller>, names, RawQuery(query), body: Body| async move {
                let given = match collect(names, query, body, limits).await {
                    Ok(given) => given,
                    Err(refusal) => return refusal,
                };
                serve(route, &given, &asker, caller).await
            };
            methods = methods.on(filter(route.method), serve);
            known.push(route.method);
        }
        router = router.route(path, methods.fallback(refuse_method(known.join(", "))));
    }
    let document = axum::routing::get(|| async { Json(openapi::document()) });
    router.route(DOCUMENT, document.fallback(refuse_method("GET".to_owned()))).fallback(|uri: Uri| async move {
        let fault = Fault::new(Code::NotFound, format!("there is no path {}", uri.path()));
        refusal(&fault.hint(format!("GET {DOCUMENT} lists them")), 404)
    })
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "GET" => MethodFilter::GET,
        "POST" => MethodFilter::POST,
        "PATCH" => MethodFilter::PATCH,
        "DELETE" => MethodFilter::DELETE,
        other => unreachable!("no route has the method {other}"),
    }
}

/// An answer for the methods that a path does not have.
fn refuse_method(known: String) -> impl Fn(Method, Uri) -> Ready<Response> + Clone + Send + Sync + 'static {
    move |method, uri| {
        let fault = Fault::new(Code::BadRequest, format!("{} cannot be asked with {method}", uri.path()));
        let mut response = refusal(&fault.hint(format!("use {known}")), 405);
        if let Ok(known) = HeaderValue::from_str(&known) {
            response.headers_mut().insert(header::ALLOW, known);
        }
        ready(response)
    }
}

async fn collect(
    names: Result<RawPathParams, RawPathParamsRejection>,
    query: Option<String>,
    body: Body,
    limits: Limits,
) -> Result<Given, Response> {
    // After a body that was not read to its end the connection is of no more use.
    let closing = |fault: &Fault, status| {
        let mut response = refusal(fault, status);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    };
    let body = match timeout(limits.patience, axum::body::to_bytes(body, limits.body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(why)) if is_too_long(&why) => {
            let fault = Fault::new(Code::TooLarge, format!("the body is larger than {} bytes", limits.body));
            return Err(closing(&fault.hint("ask for less at once"), 413));
        }
        Ok(Err(why)) => {
            let fault = Fault::new(Code::BadRequest, format!("the request ended before its body did: {why}"));
            return Err(closing(&fault.hint("send as many bytes as content-length says"), 400));
        }
        Err(_) => {
            let what = format!("the body did not come within {} s", limits.patience.as_secs());
            let fault = Fault::new(Code::BadRequest, what);
            return Err(closing(&fault.hint("send as many bytes as content-length says"), 408));
        }
    };
    let refuse = |fault: Fault| refusal(&fault, http_status(fault.code));
    let names = names.map_err(|why| refuse(Fault::new(Code::BadRequest, format!("cannot decode the path: {why}"))))?;
    Ok(Given {
        names: names.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        query: given::query(&query.unwrap_or_default()).map_err(refuse)?,
        body,
    })
}

fn is_too_long(why: &axum::Error) -> bool {
    let mut why: Option<&(dyn std::error::Error + 'static)> = Some(why);
    while let Some(error) = why {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        why = error.source();
    }
    false
}

async fn serve(route: &Route, given: &Given, asker: &Asker, caller: Caller) -> Response {
    let request = match route.request(given) {
        Ok(request) => request,
        Err(fault) => return refusal(&fault, http_status(fault.code)),
    };
    let change = changed(&request);
    let reply = asker.ask(request, caller).await;
    let Caller { uid, pid } = caller;
    if let Some((what, name)) = change {
        match &reply {
            Ok(_) => info!(uid, pid, name, "{what}"),
            Err(fault) if [Code::Kernel, Code::Store].contains(&fault.code) => {
                warn!(uid, pid, name, why = fault.what, "failed: {what}");
            }
            Err(fault) => info!(uid, pid, name, why = fault.what, "refused: {what}"),
        }
    }
    match reply {
        Ok(reply) => shown(route, reply),
        Err(fault) => refusal(&fault, http_status(fault.code)),
    }
}

/// What a request changes and the name of what is changed, as the log has it; none for one that only asks.
fn changed(request: &Request) -> Option<(&'static str, String)> {
    Some(match request {
        Request::CniCheck(_)
        | Request::CniStatus(_)
        | Request::Status
        | Request::Networks
        | Request::Network(_)
        | Request::Containers
        | Request::Container(_)
        | Request::Ports(_)
        | Request::Policies
        | Request::Policy(_)
        | Request::Advise(_)
        | Request::Flows(_)
        | Request::Plan => return None,
        Request::ApplyPolicies(files) if files.dry_run => return None,
        Request::ApplyPolicies(files) => ("policies applied", file_names(files)),
        Request::RemovePolicy(name) => ("policy removed", name.to_string()),
        Request::CreateNetwork(spec) => ("network created", spec.name.to_string()),
        Request::RemoveNetwork(name) => ("network removed", name.to_string()),
        Request::PruneNetworks => ("unused networks removed", String::new()),
        Request::CreateContainer(spec) => ("container created", spec.name.to_string()),
        Request::ChangeContainer(name, _) => ("container changed", name.to_string()),
        Request::RemoveContainer(name) => ("container removed", name.to_string()),
        Request::Connect(name, spec) => ("container connected", format!("{name} to {}", spec.network)),
        Request::Disconnect(name, network, _) => ("container disconnected", format!("{name} from {network}")),
        Request::Publish(name, spec) => ("port published", format!("{spec} of {name}")),
        Request::Unpublish(name, Some(spec)) => ("port withdrawn", format!("{spec} of {name}")),
        Request::Unpublish(name, None) => ("ports withdrawn", format!("all of {name}")),
        Request::Cleanup => ("everything removed", String::new()),
        Request::CniAdd(add) => ("container attached by CNI", format!("{} {} to {}", add.key.container, add.key.ifname, add.key.config)),
        Request::CniDel(key) => ("container detached by CNI", format!("{} {} from {}", key.container, key.ifname, key.config)),
        Request::CniGc(gc) => ("CNI network collected", gc.config.to_string()),
    })
}

/// The files' names, as many and as much of each as a line of the log can take.
fn file_names(files: &PolicyFiles) -> String {
    const MOST: usize = 8;
    let mut names: Vec<String> = files.files.iter().take(MOST).map(|file| file.name.chars().take(80).collect()).collect();
    if files.files.len() > MOST {
        names.push(format!("and {} more", files.files.len() - MOST));
    }
    names.join(", ")
}

fn shown(route: &Route, reply: Reply) -> Response {
    let status = StatusCode::from_u16(route.status).unwrap_or(StatusCode::OK);
    match reply {
        Reply::Status(status_view) => (status, Json(status_view)).into_response(),
        Reply::Networks(networks) => (status, Json(networks)).into_response(),
        Reply::Network(network) => (status, Json(network)).into_response(),
        Reply::Containers(containers) => (status, Json(containers)).into_response(),
        Reply::Container(container) => (status, Json(container)).into_response(),
        Reply::Ports(ports) => (status, Json(ports)).into_response(),
        Reply::Plan(plan) => (status, Json(plan)).into_response(),
        Reply::Cleanup(cleanup) => (status, Json(cleanup)).into_response(),
        Reply::CniAdded(added) => (status, Json(added)).into_response(),
        Reply::CniChecked(checked) => (status, Json(checked)).into_response(),
        Reply::CniReadiness(readiness) => (status, Json(readiness)).into_response(),
        Reply::CniCollected(collected) => (status, Json(collected)).into_response(),
        Reply::Policies(policies) => (status, Json(policies)).into_response(),
        Reply::PoliciesApplied(applied) => (status, Json(applied)).into_response(),
        Reply::Policy(policy) => (status, Json(policy)).into_response(),
        Reply::Advice(advice) => (status, Json(advice)).into_response(),
        Reply::Flows(flows) => (status, Json(flows)).into_response(),
        Reply::Removed => StatusCode::NO_CONTENT.into_response(),
    }
}

fn refusal(fault: &Fault, status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(fault)).into_response()
}
