//! Who may do what: one table of routes and permissions, asked before any handler.
//!
//! Owns who a caller is among the people of escalation.yaml, and what their roles allow. Never decides whether an answer
//! counts: the engine does. Keeps true: a route without a row is closed; without people whoever may use the socket may do
//! everything; root and the user who runs quell operate it, and are nobody's approval unless they are a person.

use super::caller::{self, Caller, Peer};
use super::problem::{Problem, not_so};
use crate::daemon::files::Loaded;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use quell_engine::load::{Permission, Roles, Token};
use quell_model::people::{System, UNVERIFIED};
use quell_model::{Hash, Name, People, Person};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What a route wants of its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// A role with this permission.
    May(Permission),
    /// To be a person: those who are asked, and the approvers that a question names, need no role for it.
    Answer,
}

/// What a route says that wants [`Need::Answer`].
const ANSWER: &str = "answer";
/// A program gives a person's word: it has to be meant for that.
const FOR_ANSWERS: Permission = Permission::Approve;

const READ: Need = Need::May(Permission::Read);
const ACK: Need = Need::May(Permission::Ack);
const NOTE: Need = Need::May(Permission::Note);
const RESOLVE: Need = Need::May(Permission::Resolve);
const RUN: Need = Need::May(Permission::Run);
const UNDO: Need = Need::May(Permission::Undo);
const MODE: Need = Need::May(Permission::Mode);
const PAUSE: Need = Need::May(Permission::Pause);
const CONFIG: Need = Need::May(Permission::Config);

/// Every route. One that is not here is closed.
const TABLE: &[(&str, &str, Need)] = &[
    ("GET", "/v1/openapi.json", READ),
    ("GET", "/v1/stream", READ),
    ("GET", "/v1/status", READ),
    ("GET", "/v1/playbooks", READ),
    ("GET", "/v1/playbooks/{id}/mode", READ),
    ("POST", "/v1/playbooks/{id}/mode", MODE),
    ("POST", "/v1/pause", PAUSE),
    ("POST", "/v1/resume", PAUSE),
    ("POST", "/v1/reload", CONFIG),
    ("GET", "/v1/runs", READ),
    ("POST", "/v1/runs", RUN),
    ("GET", "/v1/runs/{id}", READ),
    ("GET", "/v1/runs/{id}/playbook", READ),
    ("GET", "/v1/runs/{id}/output", READ),
    ("POST", "/v1/runs/{id}/cancel", RUN),
    ("POST", "/v1/runs/{id}/retry", RUN),
    ("POST", "/v1/runs/{id}/skip", RUN),
    ("POST", "/v1/runs/{id}/undo", UNDO),
    ("POST", "/v1/runs/{id}/keep", UNDO),
    ("POST", "/v1/runs/{id}/answer", Need::Answer),
    ("GET", "/v1/breakers", READ),
    ("POST", "/v1/breakers/{id}/open", MODE),
    ("POST", "/v1/breakers/{id}/close", MODE),
    ("GET", "/v1/silences", READ),
    // As of one incident: whoever may end its paging by looking after it may do so of those to come.
    ("POST", "/v1/silences", ACK),
    ("DELETE", "/v1/silences/{id}", ACK),
    ("GET", "/v1/incidents", READ),
    ("GET", "/v1/incidents/{id}", READ),
    ("GET", "/v1/incidents/{id}/explain", READ),
    ("GET", "/v1/incidents/{id}/events", READ),
    ("GET", "/v1/incidents/{id}/exception", READ),
    ("POST", "/v1/incidents/{id}/note", NOTE),
    ("POST", "/v1/incidents/{id}/ack", ACK),
    ("POST", "/v1/incidents/{id}/unack", ACK),
    ("POST", "/v1/incidents/{id}/escalate", ACK),
    ("POST", "/v1/incidents/{id}/resolve", RESOLVE),
    ("POST", "/v1/incidents/{id}/reopen", RESOLVE),
    ("POST", "/v1/incidents/{id}/undo", UNDO),
    ("POST", "/v1/incidents/{id}/keep", UNDO),
    ("POST", "/v1/incidents/{id}/false-positive", UNDO),
    ("GET", "/metrics", READ),
];

/// By which way a request came, as `not_via` of a question names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Via(pub(super) &'static str);

/// Who may do what, as it was read last.
#[derive(Debug)]
pub(crate) struct Access {
    people: Arc<People>,
    roles: Roles,
    tokens: Vec<Token>,
    /// Whoever runs this daemon could end it and write its files: nothing is held back from them.
    owner: u32,
}

/// A caller, and what they are here.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Known {
    /// As the journal will name them.
    name: Name,
    standing: Standing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Standing {
    /// Root, or the user who runs quell; without people whoever may use the socket.
    Operator,
    /// Somebody of escalation.yaml.
    Person,
    /// Nobody of it.
    Nobody,
    /// A token.
    Token {
        /// What it may do.
        role: Name,
        /// Whether it speaks for somebody.
        person: bool,
    },
}

/// By what somebody was let in: whoever stays for long is asked for it again when [`Access`] was read anew.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    by: By,
    known: Known,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    /// The other end of the socket.
    Peer(Peer),
    /// The sum of a token.
    Token(Hash),
}

impl By {
    /// The token of a request, if it has one.
    fn token(headers: &HeaderMap) -> Option<Self> {
        let given = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, token) = given.split_at_checked("Bearer ".len())?;
        Some(Self::Token(Hash::of(scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)?)))
    }
}

impl Access {
    /// By what was loaded.
    pub(crate) fn of(loaded: &Loaded) -> Self {
        Self {
            people: Arc::clone(&loaded.definitions.people),
            roles: loaded.config.roles.clone(),
            tokens: loaded.config.listen.iter().flat_map(|listen| listen.tokens.clone()).collect(),
            owner: rustix::process::geteuid().as_raw(),
        }
    }

    /// Who is at the other end.
    fn who(&self, peer: Peer, passwd: &str) -> Known {
        let Peer::Uid(Some(uid)) = peer else {
            let standing = if self.people.is_empty() { Standing::Operator } else { Standing::Nobody };
            return Known { name: "unknown".into(), standing };
        };
        let Caller(user) = Caller::named(uid, passwd);
        if self.people.is_empty() || uid == 0 {
            return Known { name: user, standing: Standing::Operator };
        }
        let by_name = caller::name_of(uid, passwd).and_then(|name| self.people.who(System::Unix, name));
        let person = by_name.or_else(|| self.people.who(System::Unix, &uid.to_string()));
        let standing = match person {
            _ if uid == self.owner => Standing::Operator,
            Some(_) => Standing::Person,
            None => Standing::Nobody,
        };
        // A user of the same name as a person is not that person.
        let name = person.cloned().unwrap_or_else(|| format!("{user}{UNVERIFIED}").into());
        Known { name, standing }
    }

    /// Whose token has this sum.
    fn bearer(&self, sum: Hash) -> Option<Known> {
        // All of them are looked at, whichever it is.
        let is_it = |token: &Token| bool::from(token.sha256.0.ct_eq(&sum.0));
        let token = self.tokens.iter().fold(None, |found, token| if is_it(token) { Some(token) } else { found })?;
        let name = token.person.clone().unwrap_or_else(|| format!("token {}", token.name).into());
        Some(Known { name, standing: Standing::Token { role: token.role.clone(), person: token.person.is_some() } })
    }

    /// Who asks by this, as things stand now.
    fn known(&self, by: By) -> Option<Known> {
        match by {
            By::Peer(peer) => Some(self.who(peer, &caller::passwd())),
            By::Token(sum) => self.bearer(sum),
        }
    }

    /// Whether who was let in would be let in to read as the same one, with the same rights.
    pub(super) fn still(&self, pass: &Pass) -> bool {
        self.known(pass.by).is_some_and(|known| known == pass.known && self.allow(&known, READ).is_ok())
    }

    /// Whether they may; else why not.
    fn allow(&self, known: &Known, need: Need) -> Result<(), Problem> {
        let name = &known.name;
        let denied = |what: String| Problem::new(StatusCode::FORBIDDEN, what);
        match (&known.standing, need) {
            (Standing::Operator, _) | (Standing::Person, Need::Answer | READ) => Ok(()),
            (Standing::Nobody, _) => {
                let user = name.as_str().trim_end_matches(UNVERIFIED).trim_start_matches("uid ");
                let hint = format!("`identities: {{ unix: {user} }}` of a person there makes them known");
                Err(denied(format!("`{user}` is nobody in escalation.yaml")).hint(hint))
            }
            (Standing::Person, Need::May(permission)) => {
                let roles = self.people.people.get(name).map(|person| &person.roles);
                if self.roles.may(roles.into_iter().flatten(), permission) {
                    return Ok(());
                }
                Err(self.lacks(name, permission, "`roles` of a person in escalation.yaml"))
            }
            (Standing::Token { person: false, .. }, Need::Answer) => {
                let what = format!("`{name}` is nobody's approval: it speaks for no person");
                Err(denied(what).hint("`person` of a token in quell.yaml says whose it is"))
            }
            (Standing::Token { role, .. }, need) => {
                let permission = match need {
                    Need::May(permission) => permission,
                    Need::Answer => FOR_ANSWERS,
                };
                if self.roles.may([role], permission) {
                    return Ok(());
                }
                Err(self.lacks(name, permission, "`role` of a token in quell.yaml"))
            }
        }
    }

    fn lacks(&self, name: &Name, permission: Permission, whose: &str) -> Problem {
        let that_may = self.roles.that_may(permission);
        let hint = match that_may.as_slice() {
            [] => "no role has it: `access.roles` of quell.yaml can give one".to_owned(),
            may => format!("roles with it: {}; {whose}", may.join(", ")),
        };
        let what = format!("{name} may not do that: no role of theirs has `{}`", permission.as_str());
        Problem::new(StatusCode::FORBIDDEN, what).hint(hint)
    }
}

impl Access {
    /// Whose identity this is; none: nobody's.
    #[cfg_attr(not(feature = "slack"), allow(dead_code, reason = "only Slack tells of people by its own names"))]
    pub(super) fn person(&self, system: System, identity: &str) -> Option<Name> {
        self.people.who(system, identity).cloned()
    }

    /// Who has this name.
    pub(super) fn of_name(&self, name: &Name) -> Option<Person> {
        self.people.people.get(name).cloned()
    }

    /// Whether somebody who came by another way than this API's may do what this route does.
    pub(super) fn person_may(&self, person: &Name, method: &Method, route: &str) -> Result<(), Problem> {
        let is_known = self.people.people.contains_key(person);
        let standing = if is_known { Standing::Person } else { Standing::Nobody };
        let known = Known { name: person.clone(), standing };
        match need(method, route) {
            Some(need) => self.allow(&known, need),
            None => Err(Problem::new(StatusCode::FORBIDDEN, format!("there is nothing at `{route}`"))),
        }
    }
}

/// What the role of a token must have where a route says that it wants this.
pub(super) fn of_a_token(permission: &str) -> &str {
    if permission == ANSWER { FOR_ANSWERS.as_str() } else { permission }
}

/// What the route of this path and method wants; none: it has no row.
fn need(method: &Method, path: &str) -> Option<Need> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    TABLE.iter().find(|(verb, route, _)| *verb == method && *route == path).map(|(.., need)| *need)
}

/// Lets a request through to its handler under the caller's name, or answers in its place.
pub(super) async fn check(access: Arc<Access>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map_or(Peer::Uid(None), |info| info.0);
    let (by, via) = match peer {
        Peer::Uid(_) => (Some(By::Peer(peer)), Via("socket")),
        Peer::Network => (By::token(request.headers()), Via("token")),
    };
    let Some((by, known)) = by.and_then(|by| Some((by, access.known(by)?))) else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "the request has no token that is known here")
            .hint("`Authorization: Bearer TOKEN`; `access.listen.tokens` has its sum"));
    };
    match request.extensions().get::<MatchedPath>() {
        // There is nothing there, which is for those to hear who may read at all.
        None => access.allow(&known, READ)?,
        Some(path) => match need(request.method(), path.as_str()) {
            Some(need) => access.allow(&known, need)?,
            None => {
                access.allow(&known, READ)?;
                return Err(not_so(request.method().clone(), request.uri().clone()).await);
            }
        },
    }
    request.extensions_mut().insert(ConnectInfo(Caller(known.name.clone())));
    request.extensions_mut().insert(via);
    request.extensions_mut().insert(Pass { by, known });
    Ok(next.run(request).await)
}

#[cfg(test)]
impl Access {
    /// Without people and tokens.
    pub(super) fn open() -> Arc<Self> {
        Arc::new(Self { people: Arc::default(), roles: Roles::default(), tokens: Vec::new(), owner: 0 })
    }

    /// With one person, who is none of the callers of a test.
    pub(super) fn closed() -> Arc<Self> {
        let mut people = People::default();
        people.people.insert("ana".into(), quell_model::Person::default());
        Arc::new(Self { people: Arc::new(people), roles: Roles::default(), tokens: Vec::new(), owner: 0 })
    }

    /// Somebody who was let in by the socket.
    pub(super) fn pass(&self, uid: u32) -> Pass {
        let by = By::Peer(Peer::Uid(Some(uid)));
        Pass { by, known: self.known(by).expect("a caller of the socket is somebody") }
    }
}

#[cfg(test)]
mod tests;
